;; Register store items whose files are in place already.  The argument is a
;; file with one item a line: its path, then its references.
(use-modules (guix build store-copy) (guix store database) (ice-9 rdelim) (ice-9 match))

(define (read-lines port)
  (let loop ((line (read-line port)) (lines '()))
    (if (eof-object? line)
        (reverse lines)
        (loop (read-line port) (cons line lines)))))

(define items
  (map (lambda (line)
         (match (string-split line #\space)
           ((path references ...) (store-info path #f references))))
       (call-with-input-file (cadr (command-line)) read-lines)))

(with-database %default-database-file db
  (register-items db items #:log-port (%make-void-port "w")))
