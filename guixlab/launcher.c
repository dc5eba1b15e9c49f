/* A program moved into the store: tell it where its own files are, then become it.
   VARIABLES: a list of {name, value, overwrite}; PROGRAM: the file to run.
   Not a shell script, because a shell drops variables with odd names, which Guix's builders use. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct { const char *name, *value; int overwrite; } variables[] = { VARIABLES {0, 0, 0} };

int main(int argc, char **argv)
{
  (void) argc;
  for (int i = 0; variables[i].name; i++)
    setenv(variables[i].name, variables[i].value, variables[i].overwrite);
  execv(PROGRAM, argv);
  perror(PROGRAM);
  return 127;
}
