# bash completion for omma. Commands and flags come from the command's own --help, so they are never out of date.

_omma_words() {
    "$1" "${@:2}" --help 2>/dev/null
}

_omma() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} omma=${COMP_WORDS[0]}
    local command=() word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        [[ $word == -* ]] && break
        command+=("$word")
        # Only `model` has commands of its own.
        [[ $word == model && ${#command[@]} == 1 ]] || break
    done
    COMPREPLY=()
    if [[ ${#command[@]} == 0 || (${#command[@]} == 1 && ${command[0]} == model && $current != -*) ]]; then
        local names
        names=$(_omma_words "$omma" "${command[@]}" | sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p')
        mapfile -t COMPREPLY < <(compgen -W "$names --help --version" -- "$current")
        return
    fi
    if [[ $current == -* ]]; then
        local flags
        # "--[no-]live" stands for two flags.
        flags=$(_omma_words "$omma" "${command[@]}" | grep -oE -- '^ +(-[a-zA-Z], )?--(\[no-\])?[a-z][a-z0-9-]*' |
            sed -E 's/,//; s/--\[no-\](.*)/--\1 --no-\1/')
        mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$current")
        return
    fi
    if [[ $previous == -o && ${command[0]} == run && $current != *:* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "jsonl: csv: video: null:" -- "$current")
        compopt -o nospace
        return
    fi
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
}

complete -F _omma omma
