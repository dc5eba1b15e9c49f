;; Run a manifest and say which packages it names, in words that mean the same packages elsewhere.
;;
;; Argument: the manifest file.  The last thing that is printed is, after the character U+001E, one of
;;   (packages (NAME VERSION OUTPUT specification) ...)           what the specification NAME@VERSION stands for
;;            (NAME VERSION OUTPUT (MODULE ...) VARIABLE)         what a variable of Guix's own modules holds
;;            (NAME VERSION OUTPUT own)                           a package that the manifest itself makes
;;            (NAME VERSION development MEANS ...)                all that is needed to build one; MEANS as above
;;   (no-manifest)
;; Runs where there is nothing to harm; whoever reads the answer believes none of it.
(use-modules (guix packages) (guix profiles) (guix ui) (guix utils) (gnu packages)
             (ice-9 control) (ice-9 match) (srfi srfi-1))

(define (say datum)
  (let ((port (current-output-port)))
    (newline port)
    (write-char #\x1e port)
    (write datum port)
    (newline port)
    (force-output port)))

(define (specified? package)
  "Return true if the specification of PACKAGE's name and version stands for this very object."
  (let ((specification (package-full-name package "@")))
    (match (find-best-packages-by-name (package-name package) (package-version package))
      (() #f)
      (_ (eq? package (specification->package specification))))))

(define (module-of package)
  "Return the name of the module in whose file PACKAGE stands, or #f where that is none of Guix's."
  (match (package-location package)
    (#f #f)
    (location
     (let ((file (location-file location)))
       (and (string-suffix? ".scm" file)
            (not (string-prefix? "/" file))
            (map string->symbol (string-split (string-drop-right file 4) #\/)))))))

(define (variable-of package module)
  "Return the name of the variable of MODULE that holds PACKAGE, or #f."
  (let ((interface (false-if-exception (resolve-interface module))))
    (and interface
         (let/ec return
           (module-for-each (lambda (name variable)
                              (when (and (variable-bound? variable) (eq? (variable-ref variable) package))
                                (return name)))
                            interface)
           #f))))

(define (means package)
  "Return how others find PACKAGE."
  (if (specified? package)
      '(specification)
      (let* ((module (module-of package))
             (name   (and module (variable-of package module))))
        (if name (list module name) '(own)))))

;;; Development manifests, whose packages are often variants that nobody can name: what they are for is told instead.

(define calls '())                                ;pairs of a package and the entries of its development manifest

(define (development-manifest package . rest)
  (let ((manifest (apply package->development-manifest package rest)))
    (when (null? rest)
      (set! calls (acons package (manifest-entries manifest) calls)))
    manifest))

(define (call-before entries)
  "Return the package of the call that made the first of ENTRIES and those after it, and what comes after these, or #f."
  (let/ec return
    (for-each (match-lambda
                ((package . made)
                 (when (and (pair? made) (>= (length entries) (length made))
                            (every eq? made entries))
                   (return (cons package (list-tail entries (length made)))))))
              calls)
    #f))

(define (usual? entry)
  "Return true if ENTRY is what Guix itself makes of its package: with that one's name and with what it propagates."
  (define (outline entry)
    (list (manifest-entry-name entry) (manifest-entry-version entry)
          (map manifest-entry-item (manifest-entry-dependencies entry))))
  (let ((item (manifest-entry-item entry)))
    (and (package? item)
         (equal? (outline entry) (outline (package->manifest-entry item (manifest-entry-output entry)))))))

(define (describe entry)
  (cons* (manifest-entry-name entry) (manifest-entry-version entry) (manifest-entry-output entry)
         (if (usual? entry) (means (manifest-entry-item entry)) '(own))))

(define (describe-all entries)
  (match entries
    (() '())
    ((entry rest ...)
     (match (call-before entries)
       (#f (cons (describe entry) (describe-all rest)))
       ((package . rest)
        (cons (cons* (package-name package) (package-version package) 'development (means package))
              (describe-all rest)))))))

(match (command-line)
  ((_ file)
   (let ((module (make-user-module '((guix profiles) (gnu)))))
     (module-define! module 'package->development-manifest development-manifest)
     (match (load* file module)
       ((? manifest? manifest) (say (cons 'packages (describe-all (manifest-entries manifest)))))
       (_ (say '(no-manifest)))))))
