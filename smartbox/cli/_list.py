"""``smartbox list``."""

import click

from smartbox.cli._terminal import console


@click.command("list", short_help="Names and parameters for bench.")
def list_():
    """Name the attacks, defences, detectors and metrics, with their parameters and defaults."""
    from smartbox.cli._listing import listing

    for line in listing(console().width):
        click.echo(line)
