"""`python -m edge` is `edgewise-device`, where no script is installed."""

from edge.main import app

if __name__ == "__main__":
    app(prog_name="edgewise-device")
