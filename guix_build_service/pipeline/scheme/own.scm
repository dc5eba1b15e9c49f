;; Say which derivations Guix itself has under some names: of its packages, and of what these are made from.
;;
;; Arguments: a file that the build service wrote, a list of the names of derivations without ".drv", and the file to write the
;; answer to: a list of the derivations.  Nothing of a repository's reaches this; more derivations than names may be found.
(use-modules (guix) (guix derivations) (guix grafts) (guix packages) (guix store) (gnu packages)
             (ice-9 match) (srfi srfi-1) (srfi srfi-34))

(define (names file)
  (let ((table (make-hash-table)))
    (for-each (lambda (name) (hash-set! table name #t)) (call-with-input-file file read))
    table))

(define (wanted table)
  "Return the packages, and the origins of packages, that those in TABLE may be of."
  (define (origin-of package)
    (match (package-source package)
      ((? origin? origin)
       (let ((name (false-if-exception (origin-actual-file-name origin))))
         (and name (hash-ref table name) origin)))
      (_ #f)))
  (fold-packages (lambda (package result)
                   (let* ((origin (origin-of package))
                          (result (if origin (cons origin result) result)))
                     (if (hash-ref table (string-append (package-name package) "-" (package-version package)))
                         (cons package result)
                         result)))
                 '()
                 #:select? (const #t)))

(define (derivation-of store object)
  "Return the name of the derivation of OBJECT, or #f where there is none on this kind of machine."
  (false-if-exception (derivation-file-name (run-with-store store (lower-object object)))))

(match (command-line)
  ((_ file answer)
   (let ((found (parameterize ((%graft? #f))
                  (with-store store
                    (filter-map (lambda (object) (derivation-of store object)) (wanted (names file)))))))
     (call-with-output-file answer
       (lambda (port) (write (delete-duplicates found) port) (newline port))))))
