import subprocess
import sys


def test_the_device_loads_no_server_library() -> None:
    code = (
        "import sys, edge.main\n"
        "heavy = {'celery', 'kombu', 'redis', 'sqlalchemy', 'fastapi', 'uvicorn', 'workers'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "[]"


def test_no_sound_library_is_needed_to_talk_with_recordings() -> None:
    code = "import sys, edge.main; print('sounddevice' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "False"
