"""Trials on a real Ray cluster of several node processes, one of which is killed: `tox run -e cluster`."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from suites.claims.pool import Pool
from suites.claims.studies import Studies
from suites.selftest.invented_claims import CLAIM, UNTUNED, Folder, misbehave, slow
from suites.selftest.test_claim_runs import study_of

ray = pytest.importorskip("ray", reason="Ray is not installed here; tox run -e cluster has it")

from suites.claims.cluster import Cluster  # noqa: E402 - after it is known that Ray is there


@pytest.fixture
def nodes() -> Iterator[Any]:
    """A cluster of three nodes with a core each."""
    from ray.cluster_utils import Cluster as Nodes

    found = Nodes(initialize_head=True, head_node_args={"num_cpus": 1})
    for _ in range(2):
        found.add_node(num_cpus=1)
    yield found
    found.shutdown()


@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_lost_node_loses_no_trial_and_doubles_none(nodes: Any) -> None:
    """Wrong variants: a trial that was under way is missing, or twice in the results; the session waits for ever."""
    folder = Folder()
    study = study_of(folder, claim=CLAIM, train=slow)
    cluster = Cluster(nodes.address, Pool(1, limit_s=60.0))
    assert cluster.size == 3
    killed: list[Any] = []

    def tell(_: str) -> None:
        if len(folder.rows) >= 8 and not killed:
            killed.append(next(node for node in nodes.worker_nodes))
            nodes.remove_node(killed[0], allow_graceful=False)

    studies = Studies(lambda: cluster)
    studies.all.append(study)
    try:
        assert studies.run(study, tell=tell)
    finally:
        studies.close()
    assert killed, "nothing was killed"
    keys = [row["key"] for row in folder.rows]
    assert len(keys) == len(set(keys)) == len(study.done)
    assert not study.failed
    assert all(row["processor"] for row in folder.rows)
    alone = Folder()
    again = study_of(alone, claim=CLAIM, train=slow)
    while wanted := again.wanted():
        for _, trial in wanted:
            again.done[trial] = {"loss": slow(trial).series["loss"][-1]}
    assert again.done.keys() == study.done.keys(), "as many as without a cluster"


@pytest.mark.filterwarnings("ignore")
def test_what_a_trial_raises_comes_back_and_what_measures_time_stays_here(nodes: Any) -> None:
    """Wrong variants: an exception counts as a lost node; a timed trial runs beside others' work."""
    folder = Folder()
    raises = study_of(folder, claim=UNTUNED, train=_raise)
    timed = study_of(folder, claim=dataclasses.replace(UNTUNED, alone=True), name="timed")
    studies = Studies(lambda: Cluster(nodes.address, Pool(1, limit_s=60.0)))
    studies.all += [raises, timed]
    try:
        assert studies.run(raises)
        assert studies.run(timed)
    finally:
        studies.close()
    assert all(reason.startswith("ValueError: planted (misbehave, line ") for reason in raises.failed.values())
    assert len(raises.failed) == len(raises.done)
    assert not any(row.get("processor") for row in folder.rows if row["asked"]["claim"] == "timed")


def _raise(trial: Any) -> Any:
    return misbehave(dataclasses.replace(trial, seed=0))
