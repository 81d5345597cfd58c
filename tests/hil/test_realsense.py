"""RealSense cameras through librealsense: a camera in software, recorded and played by it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robopref.errors import InputError
from robopref.hil.cameras import Camera, StaleFrameError

rs: Any = pytest.importorskip("pyrealsense2")
WIDTH, HEIGHT, FRAMES = 64, 48, 20
RED = np.array([200, 40, 10], np.uint8)


def record(path: Path, layout: Any) -> Path:
    """What a software camera shows at 30 pictures a second: red, a little brighter each time."""
    device = rs.software_device()
    for info in (rs.camera_info.name, rs.camera_info.serial_number):
        device.register_info(info, "1234")
    stream, intrinsics = rs.video_stream(), rs.intrinsics()
    intrinsics.width, intrinsics.height, intrinsics.coeffs = WIDTH, HEIGHT, [0.0] * 5
    stream.type, stream.fmt, stream.intrinsics = rs.stream.color, layout, intrinsics
    stream.width, stream.height, stream.fps, stream.bpp = WIDTH, HEIGHT, 30, 3
    sensor = device.add_sensor("Color")
    profile = sensor.add_video_stream(stream).as_video_stream_profile()
    recorder = rs.recorder(str(path), device)
    recorded = recorder.query_sensors()[0]
    recorded.open(recorded.get_stream_profiles()[0])
    recorded.start(rs.frame_queue(FRAMES))
    pixels = RED if layout == rs.format.rgb8 else RED[::-1]
    for number in range(FRAMES):
        frame = rs.software_video_frame()
        frame.stride, frame.bpp, frame.profile = WIDTH * 3, 3, profile
        frame.timestamp, frame.domain = number * 33.0, rs.timestamp_domain.system_time
        frame.frame_number = number + 1
        frame.pixels = np.broadcast_to(pixels + np.uint8(number), (HEIGHT, WIDTH, 3)).copy()
        sensor.on_video_frame(frame)
        time.sleep(1 / 30)  # it is played as it was recorded
    time.sleep(0.3)  # the recorder writes beside
    recorded.stop()
    recorded.close()
    return path


@pytest.mark.parametrize("layout", [rs.format.rgb8, rs.format.bgr8], ids=["rgb8", "bgr8"])
def test_its_pictures_come_as_those_of_any_camera(tmp_path: Path, layout: Any) -> None:
    camera = Camera("wrist", f"realsense:{record(tmp_path / 'recorded.db3', layout)}", 16)
    seen = set()
    for _ in range(15):
        picture = camera.read()
        assert picture.shape == (16, 16, 3)
        brighter = int(picture[8, 8, 0]) - int(RED[0])
        assert picture[8, 8].tolist() == (RED + brighter).tolist()  # red comes first
        seen.add(brighter)
        time.sleep(0.1)  # longer than the recording: it is played again
    camera.close()
    assert len(seen) > 3
    assert seen <= set(range(FRAMES))


def test_one_that_was_unplugged_is_told(tmp_path: Path) -> None:
    source = record(tmp_path / "recorded.db3", rs.format.rgb8)
    camera = Camera("wrist", f"realsense:{source}", 16, old_s=0.3)
    camera._capture._pipeline.stop()  # type: ignore[union-attr]
    time.sleep(0.6)
    with pytest.raises(StaleFrameError, match="camera wrist has shown nothing new"):
        camera.read()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("realsense:752112070756", "is not plugged in; there are: none"),
        ("realsense:nowhere.db3", "camera realsense:nowhere.db3: "),
    ],
)
def test_what_cannot_be_opened_is_told(source: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Camera("wrist", source, 16)


def test_without_its_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyrealsense2", None)
    with pytest.raises(InputError, match=r"pip install 'robopref\[realsense\]'"):
        Camera("wrist", "realsense:1234", 16)
