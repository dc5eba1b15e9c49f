;; Add directories to the store at their content addresses and print the paths.
;; Arguments: NAME DIRECTORY NAME DIRECTORY ...
(use-modules (guix store) (ice-9 match))
(with-store store
  (let loop ((arguments (cdr (command-line))))
    (match arguments
      (() #t)
      ((name directory rest ...)
       (format #t "~a~%" (add-to-store store name #t "sha256" directory))
       (loop rest)))))
