/* Every stand-in executable is linked with this library.  Debian's C library and terminal library look for locales and
   terminal descriptions below /usr, where a container made of store items has nothing; Guix's look in the store.
   It sits in LIB beside LIB/locale, and LIB/../share/terminfo.

   __gmon_start__ is what the start-up code of every library calls when somebody defines it.  Nothing is set where
   nobody asked for a locale or has a terminal, so a bare environment stays bare. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void offer(const char *name, const char *directory, const char *below)
{
  char value[4096];
  if (snprintf(value, sizeof value, "%s%s", directory, below) < (int) sizeof value)
    setenv(name, value, 0);
}

void __gmon_start__(void)
{
  static int done;
  Dl_info own;
  char directory[4096], *end;
  if (done || !environ || !dladdr(&done, &own) || strlen(own.dli_fname) >= sizeof directory)
    return;
  done = 1;
  strcpy(directory, own.dli_fname);
  if (!(end = strrchr(directory, '/')))
    return;
  *end = 0;
  if (getenv("LANG") || getenv("LC_ALL") || getenv("LC_CTYPE"))
    offer("LOCPATH", directory, "/locale");
  if (getenv("TERM"))
    offer("TERMINFO_DIRS", directory, "/../share/terminfo");
}
