"""Rows of many runs in one folder, and answers in SQL: a Parquet file per run folder, read by DuckDB.

A file is named by the content of its run folder, so that to add one twice changes nothing; it stays when the run folder
goes. All tables of a run are in its one file, which is there whole or not at all: a row has the name of its table, and
``TABLE.COLUMN`` are the columns. Of a run folder that has grown since, what was added last counts; a row that `merge`
has copied into another folder counts once.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from reports.store.archive import FILES
from reports.store.files import RunFolderError, read, write_whole

LAYOUT = 1
"""Of the files here: another one makes other names, so that run folders are read anew."""

SHARED = ("content", "run", "started", "revision", "machine", "environment")
"""Columns that every row of every table has."""

TABLE = "table"
ONCE = ("machine", "environment", "key", "when")
"""What tells a measurement, in whichever folder its row is."""


def content_of(folder: Path) -> str:
    """A digest of what a run folder holds."""
    digest = hashlib.sha256(f"{LAYOUT}".encode())
    for name in FILES:
        content = read(folder / name)
        digest.update(b"-" if content is None else hashlib.sha256(content).digest())
    return digest.hexdigest()[:32]


class Warehouse:
    """A folder of Parquet files; a missing one is made by the first `add`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def holds(self, content: str) -> bool:
        """Whether a run folder of this content has been added."""
        return (self.folder / f"{content}.parquet").is_file()

    def add(self, content: str, frames: Mapping[str, pd.DataFrame]) -> None:
        """Keep the tables of a run.

        Args:
            content: of `content_of`.
            frames: tables by name, among them ``runs``, of one row, with all of `SHARED` but the content.
        """
        run = {name: frames["runs"].iloc[0][name] for name in SHARED if name != "content"} | {"content": content}
        parts = [_part(title, frame, run) for title, frame in frames.items() if len(frame)]
        sink = pa.BufferOutputStream()
        pq.write_table(
            pa.concat_tables(parts, promote_options="permissive"), sink, compression="zstd", write_statistics=False
        )
        write_whole(self.folder, {f"{content}.parquet": sink.getvalue().to_pybytes()})

    def tables(self, wanted: Mapping[str, Sequence[str]]) -> dict[str, pd.DataFrame]:
        """Whole tables by name, with these columns, whether or not any run has something in them."""
        connection = self._connect()
        held = {name for (name,) in connection.execute("SELECT view_name FROM duckdb_views()").fetchall()}
        found = {}
        for name, columns in wanted.items():
            rows = connection.sql(f"SELECT * FROM {_quoted(name)}").to_arrow_table() if name in held else pa.table({})
            found[name] = rows.to_pandas().reindex(columns=[*columns])
        return found

    def answer(self, question: str) -> pd.DataFrame:
        """What a query in SQL gives.

        Raises:
            RunFolderError: it is none, or there is nothing to ask.
        """
        connection = self._connect()
        try:
            found = connection.sql(question)
            return pd.DataFrame() if found is None else found.to_arrow_table().to_pandas()
        except duckdb.Error as error:
            raise RunFolderError(f"--sql: {' '.join(str(error).split())}") from None

    def _connect(self) -> Any:
        """A connection that sees the tables as views, and no file nor network."""
        files = sorted(str(path) for path in self.folder.glob("*.parquet") if path.is_file() and not path.is_symlink())
        if not files:
            raise RunFolderError(
                f"{self.folder} holds no runs yet; add some: history RUN_FOLDERS --store {self.folder}"
            )
        schemas = []
        for file in files:
            try:
                schemas.append(pq.read_schema(file))
            except (pa.ArrowException, OSError) as error:
                raise RunFolderError(f"{file} cannot be read: {error}; delete it, and add its run again") from None
            if not {TABLE, *SHARED} <= {*schemas[-1].names}:
                raise RunFolderError(f"{file} is not of this store; move it away")
        try:
            schema = pa.unify_schemas(schemas, promote_options="permissive")
        except pa.ArrowException as error:
            raise RunFolderError(f"{self.folder} holds files that do not fit together: {error}") from None
        connection = duckdb.connect(config={"enable_external_access": False, "autoinstall_known_extensions": False})
        connection.register("rows", ds.dataset(files, schema=schema, format="parquet"))
        newest = f'SELECT arg_max(content, "runs.when") AS content FROM rows WHERE "{TABLE}" = \'runs\' GROUP BY run'
        connection.execute(f"CREATE TEMP TABLE newest AS {newest}")
        for statement in _views(schema.names):
            connection.execute(statement)
        return connection


def _part(title: str, frame: pd.DataFrame, run: Mapping[str, Any]) -> pa.Table:
    """A table's rows with `SHARED`, and its own columns by their full names; what is missing everywhere is left out."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    kept = [name for name in table.column_names if not pa.types.is_null(table.schema.field(name).type)]
    kept = [name for name in kept if name not in SHARED]
    columns = {f"{title}.{name}": table[name] for name in kept}
    texts = {TABLE: title, **run}
    shared = {name: pa.array([text] * len(frame), pa.string()) for name, text in texts.items()}
    return pa.table({**shared, **columns})


def _views(columns: Sequence[str]) -> list[str]:
    """A view for each table."""
    tables: dict[str, list[str]] = {}
    for column in columns:
        title, dot, name = column.partition(".")
        if dot:
            tables.setdefault(title, []).append(name)
    views = []
    for title, names in tables.items():
        shown = [_quoted(name) for name in SHARED]
        shown += [f"{_quoted(f'{title}.{name}')} AS {_quoted(name)}" for name in names]
        rows = f"SELECT {', '.join(shown)} FROM rows SEMI JOIN newest USING (content) WHERE \"{TABLE}\" = '{title}'"
        if {"key", "when"} <= {*names}:
            rows += f" QUALIFY row_number() OVER (PARTITION BY {', '.join(map(_quoted, ONCE))} ORDER BY content) = 1"
        views.append(f"CREATE VIEW {_quoted(title)} AS {rows}")
    return views


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
