# Find the person's working copy of the environment's repository, or make it.
#
# Sourced when a session starts (guix_session/start.py), to set `project`, and besides, when it made a copy or could not, `taken`:
# the names of it that something else in the home has, and `others`: what other copies of it the home has, one a line.
# A folder that is there is never touched: only a name that is free is ever written to, and only by renaming a copy that is complete.

repository=$GUIX_PROJECT_SOURCE
workshop="$HOME/.cache/guix-environment/projects"

say() { echo "guix-environment: $*" >&2; }

# Tell whether the folder $1 is a working copy of this repository: made by us for it, or with it among its remotes.
of_this_repository() {
    [ -e "$1/.git" ] || return 1
    local address
    while read -r address; do
        address=${address%/}
        [ "${address%.git}" = "${GUIX_PROJECT_ADDRESS%.git}" ] && return 0
    done < <(git -C "$1" config --get-regexp '^(guix-environment\.repository|remote\..*\.url)$' 2>/dev/null | cut -d ' ' -f 2-)
    return 1
}

# Tell whether the folder $1 is the working copy for this branch of it: made by us for that, or by the person for any.
belongs() {
    local follows
    of_this_repository "$1" || return 1
    follows=$(git -C "$1" config --get guix-environment.branch 2>/dev/null)
    [ -z "$follows" ] || [ "$follows" = "$branch" ]
}

# Print what the working copy may be called, best first. Environments of other branches have copies of their own.
names() {
    local name suffix=${branch//[^A-Za-z0-9._-]/-}
    for name in "$GUIX_PROJECT_NAME" "$GUIX_PROJECT_OTHER_NAME"; do
        echo "$name"
        of_this_repository "$HOME/$name" && echo "$name-${suffix:0:50}"
    done
}

# Print those of the copy's names that something else has.
taken_names() {
    local name
    for name in "$GUIX_PROJECT_NAME" "$GUIX_PROJECT_OTHER_NAME"; do
        if [ -e "$HOME/$name" ] || [ -L "$HOME/$name" ]; then
            of_this_repository "$HOME/$name" || echo "$name"
        fi
    done
}

# Print which other folders of the home are working copies for this branch that we made: the person gave them new names.
other_copies() {
    local file name
    while read -r file; do
        name=${file%/.git/config}
        name=${name##*/}
        [ "$name" != "$project" ] && belongs "$HOME/$name" && echo "$name"
    done < <(grep --files-with-matches --no-messages --fixed-strings --devices=skip '[guix-environment]' "$HOME"/*/.git/config)
}

# Print the branch that the commit came from: the one that was asked for, the repository's own, or one that is there.
find_branch() {
    local name
    for name in "$GUIX_PROJECT_REF" "$(git --git-dir "$repository" symbolic-ref --short HEAD 2>/dev/null)"; do
        if [ -n "$name" ] && git --git-dir "$repository" rev-parse --quiet --verify "refs/heads/$name" >/dev/null; then
            echo "$name"
            return
        fi
    done
    name=$(git --git-dir "$repository" for-each-ref --points-at "$GUIX_PROJECT_COMMIT" --format '%(refname:lstrip=2)' refs/heads)
    name=${name%%$'\n'*}
    echo "${name:-main}"
}

# Make a working copy at $1, which does not exist yet.
clone() {
    local copy=$1 name=$branch format=sha1
    [ ${#GUIX_PROJECT_COMMIT} -eq 64 ] && format=sha256
    git init --quiet --template= --object-format="$format" --initial-branch="$name" "$copy" || return
    # A shallow repository is passed on as it is; the rest can be fetched from the origin.
    git -C "$copy" -c protocol.version=2 fetch --quiet --no-tags --update-shallow \
        "file://$repository" "$GUIX_PROJECT_COMMIT" || return
    git -C "$copy" config guix-environment.repository "$GUIX_PROJECT_ADDRESS" || return
    git -C "$copy" config guix-environment.branch "$branch" || return
    # An archive takes nothing: without a remote, Git says what is to be done to push.
    [ -n "$GUIX_PROJECT_ARCHIVED" ] || git -C "$copy" remote add origin "$GUIX_PROJECT_ADDRESS" || return
    git -C "$copy" update-ref "refs/remotes/origin/$name" "$GUIX_PROJECT_COMMIT" || return
    git -C "$copy" reset --quiet --hard "$GUIX_PROJECT_COMMIT" || return
    [ -n "$GUIX_PROJECT_ARCHIVED" ] || git -C "$copy" branch --quiet --set-upstream-to "origin/$name" || return
    rm -f "$copy/.git/FETCH_HEAD"
}

# Give the copy $1 the name $2, unless that is taken.
place() {
    [ ! -e "$HOME/$2" ] && [ ! -L "$HOME/$2" ] && mv --no-clobber --no-target-directory "$1" "$HOME/$2" && [ ! -e "$1" ]
}

prepare_project() {
    local name copy branch
    branch=$(find_branch)
    for name in $(names); do
        if belongs "$HOME/$name"; then
            project=$name
            return
        fi
    done
    mkdir -p "$workshop" || return
    # What a session left that was ended in the middle of this. Nothing of a person's is ever in there.
    find "$workshop" -mindepth 1 -maxdepth 1 -name 'copy.*' -mmin +1440 -exec rm -rf {} +
    copy=$(mktemp -d "$workshop/copy.XXXXXXXXXX") || return
    if ! clone "$copy/project"; then
        rm -rf "$copy"
        say "the repository could not be copied into your home; the session starts without it"
        return
    fi
    for name in $(names); do
        # The second look is for another session of the same person that was faster.
        if place "$copy/project" "$name" || belongs "$HOME/$name"; then
            project=$name
            [ -z "$GUIX_PROJECT_ARCHIVED" ] ||
                say "$name is a copy of what $GUIX_PROJECT_ADDRESS keeps, which takes no changes; push yours to a repository of your own"
            break
        fi
    done
    rm -rf "$copy"
    taken=$(taken_names)
    others=$(other_copies)
    [ -n "$project" ] || say "both $GUIX_PROJECT_NAME and $GUIX_PROJECT_OTHER_NAME are taken by something else in your home"
}

project= taken= others=
if [ -d "$repository" ]; then
    configuration=$(mktemp)
    # The repository belongs to the build service, which Git asks to be told of; and no configuration of the person's applies.
    printf '[safe]\n\tdirectory = %s\n[advice]\n\tdetachedHead = false\n[core]\n\thooksPath = /dev/null\n' "$repository" >"$configuration"
    GIT_CONFIG_GLOBAL=$configuration GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0
    export GIT_CONFIG_GLOBAL GIT_CONFIG_NOSYSTEM GIT_TERMINAL_PROMPT
    prepare_project
    rm -f "$configuration"
    unset GIT_CONFIG_GLOBAL GIT_CONFIG_NOSYSTEM GIT_TERMINAL_PROMPT configuration
else
    say "this environment has no copy of its repository; the session starts without it"
fi
unset -f say of_this_repository belongs names taken_names other_copies find_branch clone place prepare_project
unset repository workshop
