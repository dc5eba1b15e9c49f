# Start a session inside its container: the person's working copy first, then the command in the arguments.
#
# Run by the server profile's bash. Nothing that goes wrong with the working copy keeps the session from starting.

umask 077
mkdir -p "$JUPYTER_RUNTIME_DIR"
umask 022

# Sets `project` to the working copy's name below the home, or leaves it empty.
. "${BASH_SOURCE[0]%/*}/project.sh"

cd "$HOME/$project" || cd "$HOME" || exit 1
if [ -z "$JUPYTERHUB_DEFAULT_URL" ]; then
    if [ -n "$project" ]; then
        JUPYTERHUB_DEFAULT_URL="/lab/tree/$project${GUIX_PROJECT_OPEN:+/$GUIX_PROJECT_OPEN}"
    else
        JUPYTERHUB_DEFAULT_URL=/lab
    fi
    export JUPYTERHUB_DEFAULT_URL
fi
unset GUIX_PROJECT_NAME GUIX_PROJECT_OTHER_NAME GUIX_PROJECT_ADDRESS GUIX_PROJECT_COMMIT GUIX_PROJECT_REF GUIX_PROJECT_OPEN GUIX_PROJECT_SOURCE
unset project
exec "$@"
