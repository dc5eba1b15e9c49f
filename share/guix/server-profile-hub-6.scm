;;; SPDX-License-Identifier: GPL-3.0-or-later

;;; The manifest of the server profile for JupyterHub 6: guix package -p PROFILE -L share/guix -m share/guix/server-profile-hub-6.scm

(define-module (server-profile-hub-6)
  #:use-module (guixspawner server-profile))

(server-profile-manifest "6")
