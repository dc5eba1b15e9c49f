;;; SPDX-License-Identifier: GPL-3.0-or-later

;;; The server layer: JupyterHub's single-user server and JupyterLab, which Guix does not have, as one package made of
;;; wheels.  What it is made of stands in server-layer/lock-SERIES.json; tools/update_server_layer.py writes those files.

(define-module (guixspawner packages server-layer)
  #:use-module (gnu packages base)
  #:use-module (gnu packages elf)
  #:use-module (gnu packages gcc)
  #:use-module (gnu packages python)
  #:use-module (guix base16)
  #:use-module (guix build-system python)
  #:use-module (guix build-system trivial)
  #:use-module (guix download)
  #:use-module (guix gexp)
  #:use-module ((guix licenses) #:prefix license:)
  #:use-module (guix packages)
  #:use-module (guix utils)
  #:use-module (ice-9 match)
  #:use-module (json)
  #:use-module (srfi srfi-1)
  #:export (server-layer-for-hub))

(define folder
  ;; The absolute name of the folder with the lock files and with what goes into the layer beside the wheels.
  (dirname (or (search-path %load-path "server-layer/install.py")
               (error "no folder \"server-layer\" on Guile's load path, where this module came from:" %load-path))))

(define (layer-file name)
  "Return the absolute name of the file NAME that belongs to the server layer."
  (string-append folder "/" name))

(define (read-lock series)
  "Return the lock of the JupyterHub SERIES, a string such as \"6\", as an association list."
  (call-with-input-file (layer-file (string-append "lock-" series ".json"))
    (lambda (port)
      (json->scm port))))

(define index-root
  ;; The root of the server that holds the Python Package Index's files, which only Guix names here.
  (let* ((address (match (pypi-uri "name" "0")
                    ((first . _) first)
                    (address address))))
    (string-take address (string-contains address "packages/"))))

(define (lock-wheels lock system)
  "Return the entries of LOCK that are for SYSTEM."
  (filter (lambda (wheel)
            (member system (vector->list (assoc-ref wheel "systems"))))
          (vector->list (assoc-ref lock "wheels"))))

(define (lock-version lock name)
  "Return the version that LOCK has of the wheel NAME."
  (assoc-ref (find (lambda (wheel)
                     (string=? (assoc-ref wheel "name") name))
                   (vector->list (assoc-ref lock "wheels")))
             "version"))

(define (wheel-origin wheel)
  "Return the origin of WHEEL, an entry of a lock."
  (origin
    (method url-fetch)
    (uri (string-append index-root (assoc-ref wheel "path")))
    (file-name (assoc-ref wheel "file"))
    (hash (content-hash (base16-string->bytevector (assoc-ref wheel "sha256"))
                        sha256))))

(define (check-python lock python)
  "Return PYTHON, or fail when the wheels of LOCK are for another one."
  (unless (string=? (assoc-ref lock "python")
                    (version-major+minor (package-version python)))
    (error "the server layer's wheels are for another Python than Guix's:"
           (assoc-ref lock "python") (package-full-name python)))
  python)

(define (layer-builder lock system)
  "Return the G-expression that installs the wheels of LOCK for SYSTEM."
  (let* ((python (check-python lock python-3.11))
         (gcc    (canonical-package gcc))
         (tool   (assoc-ref lock "build-tool"))
         (tool?  (lambda (wheel)
                   (string=? (assoc-ref wheel "name") tool)))
         (wheels (lock-wheels lock system)))
    (with-imported-modules '((guix build utils))
      #~(begin
          (use-modules (guix build utils))
          ;; Sets and dictionaries in the same order every time, and names of files as they are.
          (setenv "PYTHONHASHSEED" "0")
          (invoke #+(file-append python "/bin/python3") "-s" "-P" "-X" "utf8"
                  #$(local-file (layer-file "install.py") "install-server-layer.py")
                  "--output" #$output
                  "--python" #$python
                  "--patchelf" #+(file-append patchelf "/bin/patchelf")
                  ;; The wheels' share of the C++ run time: the one that Guix's Python uses already.
                  "--libraries" (string-append #$gcc:lib "/lib")
                  "--configuration" #$(local-file (layer-file "configuration")
                                                  "server-layer-configuration"
                                                  #:recursive? #t)
                  "--installer" #+(wheel-origin (find tool? wheels))
                  "--without" #$(string-join (map car (assoc-ref lock "excluded")) ",")
                  "--"
                  #$@(map wheel-origin (remove tool? wheels)))))))

(define (server-layer-for-hub series)
  "Return the server layer for the JupyterHub SERIES, a string such as \"6\"."
  (let ((lock (read-lock series)))
    (package
      (name "jupyter-server-layer")
      (version (string-append (lock-version lock "jupyterhub") "-"
                              (lock-version lock "jupyterlab")))
      (source #f)
      (build-system trivial-build-system)
      (arguments
       (list #:builder (layer-builder lock (%current-system))))
      (supported-systems '("x86_64-linux" "aarch64-linux"))
      (home-page "https://jupyter.org/hub")
      (synopsis "JupyterHub's single-user server with JupyterLab")
      (description "This package is what a session's own server runs on: the
single-user server of JupyterHub and JupyterLab, in a virtual environment that
neither sees nor shows any other Python package.  It has no kernels; these come
from elsewhere, by way of @env{JUPYTER_PATH}.")
      ;; The wheels' own licenses, most of them the first.
      (license (list license:bsd-3 license:expat license:asl2.0
                     license:mpl2.0 license:psfl)))))

(define-public jupyter-server-layer-5
  (server-layer-for-hub "5"))

(define-public jupyter-server-layer-6
  (server-layer-for-hub "6"))
