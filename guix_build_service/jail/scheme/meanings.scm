;; What the packages of a manifest are called elsewhere, for the programs that run one in the jail.
(use-modules (guix packages) (guix profiles) (guix ui) (guix utils) (gnu packages)
             (ice-9 control) (ice-9 match) (srfi srfi-1))

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

(define (describe entry otherwise)
  "Return what is to be known of ENTRY; where nobody else can name its package, that is what OTHERWISE returns for ENTRY."
  (cons* (manifest-entry-name entry) (manifest-entry-version entry) (manifest-entry-output entry)
         (match (if (usual? entry) (means (manifest-entry-item entry)) '(own))
           (('own) (otherwise entry))
           (means means))))

(define (describe-all entries otherwise development)
  "Return what is to be known of ENTRIES, with OTHERWISE as above.  DEVELOPMENT is called with the package that a development
manifest is of and its entries, and returns a list as well."
  (match entries
    (() '())
    ((entry rest ...)
     (match (call-before entries)
       (#f (cons (describe entry otherwise) (describe-all rest otherwise development)))
       ((package . rest*)
        (append (development package (drop-right entries (length rest*)))
                (describe-all rest* otherwise development)))))))

(define (manifest-of file)
  "Return what the last expression of the manifest FILE is."
  (let ((module (make-user-module '((guix profiles) (gnu)))))
    (module-define! module 'package->development-manifest development-manifest)
    (load* file module)))
