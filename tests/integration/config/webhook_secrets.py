"""Secrets of webhooks in the database, and a look at what those are under."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import Engine, select

from schemas.ids import new_id
from tests.integration.config.keys import NOW
from workers.errors import CredentialsUnavailableError
from workers.secrets.key_files import keys_folder
from workers.secrets.secret_box import HEAD, KEPT_FILES, SecretBox, key_id_in
from workers.settings import Settings
from workers.storage.database import reading, writing
from workers.storage.webhooks.secrets import StoredSecret, add_secret
from workers.storage.webhooks.tables import webhook_secrets


def box_of(settings: Settings, variables: Mapping[str, str] | None = None) -> SecretBox:
    """Return the box as a process that starts now has it."""
    return SecretBox(keys_folder(settings.home_path), variables or {})


def fill_secrets(engine: Engine, box: SecretBox, count: int) -> None:
    """Store a secret of each of so many sources; the secret follows from the source's id."""
    with writing(engine) as connection:
        for _ in range(count):
            draft = StoredSecret(
                id=new_id("secret"),
                owner_id=new_id("source"),
                account="default",
                secret=b"",
                created_at=NOW,
            )
            closed = box.close(SecretStr(f"whsec-{draft.owner_id}"), draft.place)
            stored = draft.model_copy(update={"secret": closed})
            add_secret(connection, stored, older_until=NOW)


def stored_secrets(engine: Engine) -> list[StoredSecret]:
    """Return all secrets, the expired ones too."""
    columns = webhook_secrets.c
    query = select(columns.id, columns.owner_id, columns.account, columns.secret)
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(columns.id)).mappings().all()
    return [StoredSecret(**row, created_at=NOW) for row in rows]


def under(engine: Engine) -> Counter[str]:
    """How many secrets are under each key."""
    return Counter(key_id_in(each.secret[:HEAD]) for each in stored_secrets(engine))


def opened(engine: Engine, box: SecretBox) -> dict[str, str]:
    """Return the secrets that open, by their ids."""
    found = {}
    for each in stored_secrets(engine):
        try:
            found[each.id] = box.open(each.secret, each.place).get_secret_value()
        except CredentialsUnavailableError:
            continue
    return found


def formers(keys: Path) -> list[Path]:
    """Return the files of keys that are not the current one."""
    current = f"webhooks-{SecretBox(keys, {}).read_again().newest}.private"
    return sorted(file for file in keys.glob(KEPT_FILES) if file.name != current)


def shown(stdout: str, name: str) -> str:
    """Return what a command says that something is."""
    return next(
        line.removeprefix(f"{name}: ") for line in stdout.splitlines() if line.startswith(name)
    )
