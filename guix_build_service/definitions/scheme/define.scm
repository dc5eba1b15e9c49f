;; Run a manifest and say what Guix would build for the packages that it makes itself.
;;
;; Argument: the manifest file.  Standard output is a socket, behind which something answers what the daemon would to whoever
;; adds to the store, and nothing else.  After the character U+001E it is talked to as to the daemon; the last word to it is one of
;;   (packages ENTRY ...)
;;   (no-manifest)
;;   (failed MESSAGE)
;; where an ENTRY is as in evaluate.scm, or, in place of one that says `own',
;;   (NAME VERSION OUTPUT KIND DERIVATION (SEARCH-PATH ...) (ENTRY ...))      the last ones: what it propagates
;; of which KIND is `derivation', or `development' where it is needed to build a package that is asked for so.
;; Runs where there is nothing to harm; whoever reads the answer believes none of it.
(use-modules (guix derivations) (guix gexp) (guix grafts) (guix packages) (guix profiles) (guix search-paths)
             (guix serialization) (guix store)
             (ice-9 match) (srfi srfi-1))

(load "/evaluation/meanings.scm")

(define answer 1000)

(define socket (fdopen (dup->fdes 1) "r+0b"))

(define (say datum)
  (write-int answer socket)
  (write-string (object->string datum) socket)
  (force-output socket))

(define (derivation-of store entry kind)
  "Return how the package of ENTRY is built, as one of KIND."
  (match (run-with-store store (lower-object (manifest-entry-item entry)))
    ((? derivation? drv)
     (list kind
           (derivation-file-name drv)
           (map search-path-specification->sexp (manifest-entry-search-paths entry))
           (map (lambda (dependency) (describe dependency (lambda (entry) (derivation-of store entry kind))))
                (manifest-entry-dependencies entry))))
    (_ '(own))))

(define (described store manifest)
  (define (own kind)
    (lambda (entry) (derivation-of store entry kind)))
  (define (development package entries)
    (match (means package)
      (('own) (map (lambda (entry) (describe entry (own 'development))) entries))
      (means (list (cons* (package-name package) (package-version package) 'development means)))))
  (cons 'packages (describe-all (manifest-entries manifest) (own 'derivation) development)))

(define (said-by thunk)
  "Return what THUNK returns, or where it ends with a message, that."
  (let* ((result #f)
         (text   (call-with-output-string
                   (lambda (port)
                     (parameterize ((current-error-port port)
                                    (current-warning-port port))
                       (catch #t
                         (lambda () (set! result (thunk)))
                         (lambda (key . arguments)
                           (unless (eq? key 'quit)
                             (print-exception port #f key arguments)))))))))
    (or result (list 'failed text))))

(display #\x1e (current-output-port))
(force-output (current-output-port))

;; From here on nothing but what is said to the store goes there.
(let ((nowhere (open-file "/dev/null" "r+0")))
  (dup2 (fileno nowhere) 1)
  (dup2 (fileno nowhere) 2))

(match (command-line)
  ((_ file)
   (say (said-by
         (lambda ()
           (match (manifest-of file)
             ((? manifest? manifest)
              ;; What is known of a package before it is built has no grafts.
              (parameterize ((%graft? #f))
                (described (port->connection socket #:built-in-builders '("download" "git-download")) manifest)))
             (_ '(no-manifest))))))))
