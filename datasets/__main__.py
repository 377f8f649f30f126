"""List the data sets: ``python -m datasets``. Each is read, so that it is known to be what it should be."""

import argparse
import sys

from datasets.catalogue import DATA_SETS


def main() -> None:
    """Run the command line."""
    argparse.ArgumentParser(
        prog="python -m datasets",
        description="List the data sets: what each is, its licence and source, and whether it is here.",
    ).parse_args()
    for data_set in DATA_SETS:
        complaint = data_set.complaint()
        rows = {
            "content": data_set.content,
            "licence": data_set.licence,
            "source": data_set.source,
            "loader": data_set.loader,
            "here": "yes, unaltered" if complaint is None else f"no: {complaint}",
            "to get it": data_set.remedy,
        }
        lines = [f"{data_set.name}: {data_set.title}", *(f"  {key:<9}  {value}" for key, value in rows.items()), "", ""]
        sys.stdout.write("\n".join(lines))


if __name__ == "__main__":
    main()
