"""`mesh completion`: a script by which a shell completes commands, options and kinds."""

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> int:
    """Print a script that completes commands in a SHELL.

    \b
    Examples:
      mesh completion bash > ~/.local/share/bash-completion/completions/mesh
      mesh completion zsh > ~/.zsh/completions/_mesh
      mesh completion fish > ~/.config/fish/completions/mesh.fish
    """
    from click.shell_completion import get_completion_class

    from mesh.cli.main import cli

    script = get_completion_class(shell)
    assert script is not None, "click knows the shells of the choice"
    click.echo(script(cli, {}, "mesh", "_MESH_COMPLETE").source())
    return 0
