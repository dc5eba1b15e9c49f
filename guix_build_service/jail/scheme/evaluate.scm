;; Run a manifest and say which packages it names, in words that mean the same packages elsewhere.
;;
;; Argument: the manifest file.  The last thing that is printed is, after the character U+001E, one of
;;   (packages (NAME VERSION OUTPUT specification) ...)           what the specification NAME@VERSION stands for
;;            (NAME VERSION OUTPUT (MODULE ...) VARIABLE)         what a variable of Guix's own modules holds
;;            (NAME VERSION OUTPUT own)                           a package that the manifest itself makes
;;            (NAME VERSION development MEANS ...)                all that is needed to build one; MEANS as above
;;   (no-manifest)
;; Runs where there is nothing to harm; whoever reads the answer believes none of it.
(use-modules (guix packages) (guix profiles) (ice-9 match))

(load "/evaluation/meanings.scm")

(define (say datum)
  (let ((port (current-output-port)))
    (newline port)
    (write-char #\x1e port)
    (write datum port)
    (newline port)
    (force-output port)))

(define (development package _)
  (list (cons* (package-name package) (package-version package) 'development (means package))))

(match (command-line)
  ((_ file)
   (match (manifest-of file)
     ((? manifest? manifest)
      (say (cons 'packages (describe-all (manifest-entries manifest) (const '(own)) development))))
     (_ (say '(no-manifest))))))
