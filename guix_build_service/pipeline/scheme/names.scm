;; Write the names of all packages that this Guix has, as one list of strings, to the file given as argument.
(use-modules (gnu packages) (ice-9 match))
(match (command-line)
  ((_ file)
   (let ((names (fold-available-packages
                 (lambda* (name version names #:key #:allow-other-keys) (cons name names))
                 '())))
     (call-with-output-file file
       (lambda (port) (write names port) (newline port))))))
