;; Ask Guix what the packages of a manifest amount to, without building the profile.
;;
;; Arguments: a manifest file that the build service wrote, and the file to write the answer to: one of
;;   (ready DERIVATION PROFILE)
;;   (unknown (SPECIFICATION KIND ALTERNATIVE ...) ...)      KIND: name, version or output
;;   (conflict (NAME VERSION OUTPUT PROPAGATED-FROM ...) (NAME VERSION OUTPUT PROPAGATED-FROM ...))
;;   (unsupported MESSAGE)
;; The manifest is read, not loaded: only its strings reach Guix.
(use-modules (guix) (guix derivations) (guix diagnostics) (guix packages) (guix profiles) (guix store) (guix ui)
             (guix utils) (gnu packages)
             (ice-9 match) (srfi srfi-1) (srfi srfi-11) (srfi srfi-34))

(define (answer file datum)
  (call-with-output-file file
    (lambda (port) (write datum port) (newline port))))

(define (read-entries file)
  "Return the specifications in FILE: a list of (package . SPECIFICATION) and (development . SPECIFICATION)."
  (define plain
    (match-lambda
      (('specifications->manifest ('list specifications ...))
       (map (lambda (specification) (cons 'package specification)) specifications))
      (('package->development-manifest ('specification->package specification))
       (list (cons 'development specification)))))
  (match (call-with-input-file file read)
    (('concatenate-manifests ('list parts ...)) (append-map plain parts))
    (part (plain part))))

(define (problem specification)
  "Return what is wrong with SPECIFICATION, or #f."
  (let-values (((name version output) (package-specification->name+version+output specification)))
    (match (find-packages-by-name name version)
      (()
       (match (find-packages-by-name name)
         (() (list specification 'name))
         (packages (cons* specification 'version (delete-duplicates (map package-version packages))))))
      ((package _ ...)
       (if (member output (package-outputs package))
           #f
           (cons* specification 'output (package-outputs package)))))))

(define entry->manifest
  (match-lambda
    (('package . specification) (specifications->manifest (list specification)))
    (('development . specification) (package->development-manifest (specification->package specification)))))

(define development?
  (match-lambda
    (('development . _) #t)
    (_ #f)))

(define (describe entry)
  "Return what people must know of ENTRY, the packages that propagate it from the nearest to the outermost."
  (cons* (manifest-entry-name entry) (manifest-entry-version entry) (manifest-entry-output entry)
         (let loop ((parent (force (manifest-entry-parent entry))))
           (if (manifest-entry? parent)
               (cons (manifest-entry-name parent) (loop (force (manifest-entry-parent parent))))
               '()))))

(define (lower entries)
  (with-store store
    (set-build-options store #:use-substitutes? #t)
    (guard (c ((profile-collision-error? c)
               (list 'conflict
                     (describe (profile-collision-error-entry c))
                     (describe (profile-collision-error-conflict c))))
              ((formatted-message? c)
               (list 'unsupported
                     (apply format #f (formatted-message-string c) (formatted-message-arguments c)))))
      (let ((derivation (run-with-store store
                          (profile-derivation (concatenate-manifests (map entry->manifest entries))
                                              ;; What a package is built with are often variants of what is
                                              ;; asked for besides; `guix shell' lets them be together.
                                              #:allow-collisions? (any development? entries)))))
        (list 'ready (derivation-file-name derivation) (derivation->output-path derivation))))))

(match (command-line)
  ((_ manifest file)
   (let* ((entries  (read-entries manifest))
          (problems (filter-map (match-lambda ((_ . specification) (problem specification))) entries)))
     (answer file (if (null? problems)
                      (lower entries)
                      (cons 'unknown problems))))))
