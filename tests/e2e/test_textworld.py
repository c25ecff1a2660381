"""An iteration on a handful of TextWorld's games: made, shown, played, ranked and judged."""

import json
from pathlib import Path

from agentprm_dagster.episodes.tables import read_episodes
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.provenance.verify import verify
from installed import call, run

FEW = """
extends: smoke
iterations: 1
environment: {kind: textworld, train: 6, coin_distance: 1, treasure_rooms: 4, valid_seen: 3, valid_unseen: 3}
demonstrations: {episodes: 72, expert: policy, action_noise: 0.2}
rollouts: {games: 6, per_game: 3, max_new_tokens: 40}
improvement: {max_new_tokens: 40}
"""


def test_the_loop_runs_on_textworlds_games(tmp_path: Path) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments/few.yaml").write_text(FEW, encoding="utf-8")
    run(tmp_path, "run", "few")
    store = ArtifactStore(tmp_path / "home/artifacts")
    assert verify(store).sound
    rows = json.loads(run(tmp_path, "report", "few", "--json"))
    assert {row["policy"] for row in rows} == {"pi_0", "pi_1"}
    assert {row["n"] for row in rows if row["split"] == "valid_seen"} == {3}
    shown = read_episodes(store.current("few", "demonstrations", 0).path)
    assert all(episode.won for episode in shown)
    assert any(not turn.admissible for episode in shown for turn in episode.turns), "no mistake was injected"
    played = read_episodes(store.current("few", "rollouts", 1).path)
    assert {episode.task_type for episode in played} == {"cooking", "coin_collector", "treasure_hunter"}
    run(tmp_path, "export", "few", str(tmp_path / "bundle"), "-i", "1")
    checked = call(tmp_path / "stranger", "check", str(tmp_path / "bundle"))
    assert checked.returncode == 0, checked.stdout + checked.stderr
