import pytest

from robopref.evaluation.over_optimization import divergence_step


def curve(true: list[float], learned: list[float]) -> list[dict[str, float]]:
    lines = zip(true, learned, strict=True)
    return [{"step": 100 * i, "return": t, "learned_return": r} for i, (t, r) in enumerate(lines)]


@pytest.mark.parametrize(
    ("true", "learned", "expected"),
    [
        ([0, 5, 9, 4], [0, 1, 2, 3], 200),  # the truth fell, the learned return rose
        ([0, 5, 9, 4], [0, 1, 2, 1], None),  # both fell
        ([0, 5, 9, 8.5], [0, 1, 2, 3], None),  # too little to notice
        ([0, 5, 9, 12], [0, 1, 2, 3], None),  # both rose
        ([3], [1], None),
    ],
)
def test_where_they_part(true: list[float], learned: list[float], expected: int | None) -> None:
    assert divergence_step(curve(true, learned)) == expected
