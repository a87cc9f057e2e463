"""The settings as in docs/server.md; `python -m tests.unit.operate.settings_table` prints them."""

from workers.commands.doctor import shown
from workers.settings import Settings


def rows() -> list[str]:
    """One line of the table per setting."""
    return [
        f"| `EDGEWISE_{name.upper()}` | {shown(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]


if __name__ == "__main__":
    print("\n".join(rows()))
