;; What a channel named guix has for building itself, here of a stand-in: its `guix' is the machine's own, with the packages of
;; the channels beside it.  Where others talk to it in Scheme, as when Guix builds channels, it is a Guile with a few modules.
(use-modules (guix gexp))

(define modules
  `((guix build utils)
    ((guix build compile)
     => ,(plain-file "compile.scm"
                     "(define-module (guix build compile) #:export (compile-files) #:use-module (guix build utils))
(define (compile-files source target files . rest) (mkdir-p target))"))
    ((gnu packages) => ,(plain-file "packages.scm" "(define-module (gnu packages))"))))

(define answer-in-scheme
  #~(begin
      (write '(repl-version 0 1 1))
      (newline)
      (force-output)
      (let loop ((expression (read)))
        (unless (eof-object? expression)
          (eval expression (current-module))
          (write '(values (value #t)))
          (newline)
          (force-output)
          (loop (read))))))

(define guix-command
  (program-file "guix-command"
    (with-imported-modules modules
      #~(let ((arguments (command-line)))
          (if (member "machine" arguments)
              #$answer-in-scheme
              (begin
                ;; The machine's Guix has a Guile of its own.
                (for-each unsetenv '("GUILE_SYSTEM_PATH" "GUILE_SYSTEM_COMPILED_PATH" "GCONV_PATH"))
                (setenv "GUIX_PACKAGE_PATH" (string-append (dirname (dirname (car arguments))) "/share/guile/site/3.0"))
                (apply execlp "guix" "guix" (cdr arguments))))))))

(lambda* (source #:key version #:allow-other-keys)
  (gexp->derivation "guix-stand-in"
    #~(begin
        (mkdir #$output)
        (mkdir (string-append #$output "/bin"))
        (symlink #$guix-command (string-append #$output "/bin/guix")))))
