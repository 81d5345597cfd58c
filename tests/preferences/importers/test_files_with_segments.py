from __future__ import annotations

import pickle
from datetime import UTC, datetime

import numpy as np
import pytest

from robopref.errors import InputError
from robopref.preferences.importers.cpl import import_cpl
from robopref.preferences.importers.imitation import import_imitation
from tests.preferences.importers.imitation_pickle import imitation_pickle

NOW = datetime(2025, 1, 1, tzinfo=UTC)


def test_cpl_scores(tmp_path, rng):
    path = tmp_path / "scores.npz"
    arrays = {
        "obs": rng.normal(size=(5, 6, 3)).astype(np.float32),
        "action": rng.normal(size=(5, 6, 2)).astype(np.float32),
        "reward": rng.normal(size=(5, 6)),
    }
    np.savez_compressed(path, **arrays, rl_sum=np.array([1.0, 2.0, 3.0, 2.0, 9.0]))
    imported = import_cpl(path, NOW)
    assert imported.preferences.labels.tolist() == [1.0, 0.5]
    assert imported.preferences.first.episodes.tolist() == [0, 1]
    assert imported.preferences.second.episodes.tolist() == [2, 3]
    assert imported.dataset.lengths.tolist() == [5] * 4
    assert np.array_equal(imported.dataset[3].observations["state"], arrays["obs"][3])
    assert np.array_equal(imported.dataset[3].actions, arrays["action"][3, :-1])
    np.savez(path, **arrays, rl_sum=np.ones(5), rl_dense=np.arange(30.0).reshape(5, 6))
    assert import_cpl(path, NOW, "rl_dense").preferences.labels.tolist() == [1.0, 1.0]
    with pytest.raises(InputError, match="has the scores rl_sum, rl_dense"):
        import_cpl(path, NOW)


def test_cpl_old_form(tmp_path, rng):
    path = tmp_path / "pairs.npz"
    arrays = {
        f"{name}_{side}": rng.normal(size=(2, 6, width))
        for side in (1, 2)
        for name, width in (("obs", 3), ("action", 2))
    }
    np.savez(path, **arrays, label=np.array([1.0, 0.5]))
    imported = import_cpl(path, NOW)
    assert imported.preferences.labels.tolist() == [1.0, 0.5]
    second = imported.dataset[int(imported.preferences.second.episodes[1])]
    assert np.allclose(second.observations["state"], arrays["obs_2"][1])
    np.savez(path, obs=np.zeros((4, 6, 3)), action=np.zeros((4, 5, 2)), score=np.zeros(4))
    with pytest.raises(InputError, match="do not fit together"):
        import_cpl(path, NOW)
    np.savez(path, obs=np.full((4, 6, 3), np.nan), action=np.zeros((4, 6, 2)), score=np.zeros(4))
    with pytest.raises(InputError, match="obs holds NaN, infinity or huge"):
        import_cpl(path, NOW)


@pytest.mark.parametrize("protocol", [4, 5])
def test_imitation_points_the_other_way(tmp_path, rng, protocol):
    def fragment(level: float):
        infos = np.array([{"step": i, "l": {"r": np.float64(1.5)}} for i in range(4)])
        obs = rng.normal(size=(5, 3))
        return (obs, rng.normal(size=(4, 2)), infos, False, np.full(4, level))

    pairs = [fragment(1.0), fragment(0.0)], [fragment(0.0), fragment(1.0)]
    path = tmp_path / "preferences.pkl"
    path.write_bytes(imitation_pickle(*pairs, np.array([1.0, 0.2], np.float32), protocol))
    imported = import_imitation(path, NOW)
    # P(first) = 1 means that the first is preferred: here that is 0.
    assert imported.preferences.labels == pytest.approx([0.0, 0.8])
    assert imported.agreement == 1.0
    assert np.allclose(imported.dataset[2].observations["state"], pairs[1][0][0])
    path.write_bytes(imitation_pickle(*pairs, np.array([1.0]), protocol))
    with pytest.raises(InputError, match="differ in number"):
        import_imitation(path, NOW)
    path.write_bytes(pickle.dumps(np.zeros(3)))
    with pytest.raises(InputError, match="holds no PreferenceDataset"):
        import_imitation(path, NOW)
