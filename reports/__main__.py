"""``python -m reports VERB ...``: what can be done with run folders. Without a verb, it is ``report``."""

import argparse
import gc
import importlib
import keyword
import sys
from collections.abc import Sequence
from types import ModuleType

from reports.verbs import VERBS

PROGRAM = "python -m reports"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what a verb does; returns its exit code, or 2 where a folder cannot be read or nothing can be written."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        _parser(VERBS).parse_args(given)
    if given[0] not in VERBS:
        given.insert(0, "report")  # as it was called before there were verbs
    options = _parser(given[:1]).parse_args(given)
    from reports.store.files import RunFolderError  # not for --help: its schema takes a tenth of a second

    try:
        return int(_module(options.verb).run(options))
    except RunFolderError as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        return 2


def _parser(verbs: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="What can be done with run folders.")
    commands = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in verbs:
        module = _module(verb)
        help_ = str(module.__doc__).partition("\n")[0]
        module.arguments(commands.add_parser(verb, help=help_, description=help_))
    return parser


def _module(verb: str) -> ModuleType:
    """What does a verb; ``import``, which no module can be called, is done by ``import_``."""
    return importlib.import_module(f"reports.verbs.{verb}{'_' * keyword.iskeyword(verb)}")


if __name__ == "__main__":
    gc.disable()  # a process that ends soon has nothing to collect, and looking for it takes a tenth of its time
    sys.exit(main())
