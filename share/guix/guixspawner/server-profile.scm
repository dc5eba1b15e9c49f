;;; SPDX-License-Identifier: GPL-3.0-or-later

;;; The server profile: what every session has besides its environment, that is, the server layer and the tools that a
;;; terminal, a shell script and Git need.

(define-module (guixspawner server-profile)
  #:use-module (gnu packages base)
  #:use-module (gnu packages bash)
  #:use-module (gnu packages compression)
  #:use-module (gnu packages docker)
  #:use-module (gnu packages gawk)
  #:use-module (gnu packages less)
  #:use-module (gnu packages linux)
  #:use-module (gnu packages nss)
  #:use-module (gnu packages text-editors)
  #:use-module (gnu packages version-control)
  #:use-module (guix profiles)
  #:use-module (guixspawner packages server-layer)
  #:export (server-profile-manifest))

;; Variables and not specifications: with a load path of its own, `guix' would read every package definition there is to
;; find a package by its name.
(define base-tools
  (list bash coreutils diffutils findutils gawk git-minimal grep gzip less nano nss-certs procps sed tar tini which xz))

(define (server-profile-manifest series)
  "Return the manifest of the server profile for the JupyterHub SERIES, a string such as \"6\"."
  (packages->manifest (cons (server-layer-for-hub series) base-tools)))
