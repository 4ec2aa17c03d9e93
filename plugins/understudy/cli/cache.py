"""``understudy cache``: shows what steps keep on this machine, and removes what is not needed."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from understudy.cli.terminal import add_json, parsed_by, print_json
from understudy.errors import SettingsError
from understudy.runner.reuse.cache import Item, PruningTerms, inventory, prune, pruner
from understudy.runner.settings import CACHE_VARIABLE, CacheLimits, Settings
from understudy.spec import quantities
from understudy.spec.quantities import size_text


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``cache list`` and ``cache prune``."""
    actions = parser.add_subparsers(title="actions", metavar="action", required=True)
    listing = actions.add_parser("list", help="show each item with its size and last use")
    add_json(listing)
    listing.set_defaults(run=_list)
    pruning = actions.add_parser(
        "prune",
        help="remove what is not in use, by age and by size",
        description="Removes mirrors, checkouts and environments that are not in use. Without "
        "limits, those of UNDERSTUDY_CACHE_MAX_AGE and UNDERSTUDY_CACHE_MAX_SIZE apply.",
    )
    pruning.add_argument(
        "--older-than", type=parsed_by(quantities.duration), metavar="30d",
        help="remove what was not used for so long",
    )  # fmt: skip
    pruning.add_argument(
        "--larger-than", type=parsed_by(quantities.size), metavar="20GB",
        help="remove the longest unused until the cache is no larger than this",
    )  # fmt: skip
    pruning.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    pruning.set_defaults(run=_prune)


def _list(options: argparse.Namespace) -> int:
    settings = Settings.from_environment()
    items = [item for item in inventory(settings.cache) if item.folder.is_dir()]
    sizes = [item.size() for item in items]
    if options.json:
        print_json(map(_facts, items, sizes))
        return 0
    for item, size in zip(items, sizes, strict=True):
        print(_line(item, size_text(size), "in use" if item.in_use() else _moment(item)))
    print(f"{size_text(sum(sizes))} in {settings.cache}")
    return 0


def _prune(options: argparse.Namespace) -> int:
    settings = Settings.from_environment()
    limits = CacheLimits(options.older_than, options.larger_than)
    # One limit given by hand replaces both configured ones: `--older-than 30d` alone must not
    # remove younger items by size as well.
    if limits == CacheLimits():
        limits = settings.cache_limits
    with pruner(settings.cache) as alone:
        if not alone:
            raise SettingsError(
                f"Another process prunes the cache {settings.cache}",
                allowed=f"one prune of a cache ({CACHE_VARIABLE}) at a time",
                action="wait for its end; it takes seconds",
            )
        done = prune(settings.cache, PruningTerms(limits, dry=options.dry_run))
    for item in done.removed:
        print(_line(item, "would go" if options.dry_run else "removed", _moment(item)))
    for item in done.kept:
        print(_line(item, "kept", "in use"))
    print(f"{size_text(done.freed)} {'would be' if options.dry_run else 'were'} freed")
    return 0


def _line(item: Item, state: str, used: str) -> str:
    return f"{item.kind.name.lower():11}  {state:>9}  {used:16}  {item.title}"


def _facts(item: Item, size: int) -> dict[str, object]:
    used = datetime.fromtimestamp(item.used, UTC).isoformat(timespec="seconds")
    return {
        "kind": item.kind.name.lower(),
        "title": item.title,
        "folder": str(item.folder),
        "bytes": size,
        "used": used,
        "in_use": item.in_use(),
    }


def _moment(item: Item) -> str:
    return f"{datetime.fromtimestamp(item.used).astimezone():%Y-%m-%d %H:%M}"
