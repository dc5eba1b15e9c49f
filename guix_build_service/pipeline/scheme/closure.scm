;; Write the closure of a store item, as a list of (PATH . BYTES), to a file.  Arguments: the item and the file.
(use-modules (guix store) (ice-9 match) (srfi srfi-1))
(match (command-line)
  ((_ item file)
   (with-store store
     (let ((items (map (lambda (path) (list path (path-info-nar-size (query-path-info store path))))
                       (sort (requisites store (list item)) string<?))))
       (call-with-output-file file
         (lambda (port) (write items port) (newline port)))))))
