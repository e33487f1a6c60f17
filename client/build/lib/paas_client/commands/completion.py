"""completion: the script that lets a shell complete commands, options and names of apps."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, add_completion_class, get_completion_class

from paas_client.errors import UserProblem
from paas_client.options import command

SHELLS = ("bash", "zsh", "fish")
# bash takes a colon for the end of a word, and our commands have one. So: split the line at blanks ourselves, and leave
# out of each answer what stands before the last colon, because bash puts the answer behind that.
BASH = """\
%(complete_func)s() {
    local line=${COMP_LINE:0:$COMP_POINT} word type value
    local -a words
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word=${words[${#words[@]}-1]}
    COMPREPLY=()
    while IFS=',' read -r type value || [[ -n $type ]]; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain)
                [[ $COMP_WORDBREAKS == *:* && $word == *:* ]] && value=${value#"${word%%:*}:"}
                COMPREPLY+=("$value") ;;
        esac
    done < <(env COMP_WORDS="$line" COMP_CWORD=$((${#words[@]}-1)) %(complete_var)s=bash_complete "$1")
    return 0
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class PaasBash(BashComplete):
    name = "bash"
    source_template = BASH

    def source(self) -> str:
        return self.source_template % self.source_vars()  # without asking bash for its version: macOS has an old one


def install() -> None:
    """Click asks for our class when bash does."""
    add_completion_class(PaasBash)


@command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what to add to your shell's start file: source <(paas completion bash)."""
    install()
    found = get_completion_class(shell)
    if found is None:
        raise UserProblem(f"There is no completion for {shell}.")
    root = context.find_root().command
    click.echo(found(root, {}, "paas", "_PAAS_COMPLETE").source(), nl=False)


COMMANDS = [completion]
