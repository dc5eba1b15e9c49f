;;; SPDX-License-Identifier: GPL-3.0-or-later

;;; The manifest of the server profile for JupyterHub 5: guix package -p PROFILE -L share/guix -m share/guix/server-profile-hub-5.scm

(define-module (server-profile-hub-5)
  #:use-module (guixspawner server-profile))

(server-profile-manifest "5")
