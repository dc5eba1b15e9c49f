;; Build a derivation, say what happens as it happens, and what it came to, as building.scm has it.
;;
;; Arguments: the derivation, the seconds for which a part of it may say nothing and may take, the file to append what happens
;; to, and the file to write the answer to.
(use-modules (guix store) (guix ui) (ice-9 match))

(primitive-load (string-append (dirname (current-filename)) "/building.scm"))

(match (command-line)
  ((_ derivation silent seconds happenings file)
   ;; What failed is told as by `guix build'.
   (parameterize ((program-name "build"))
     (with-error-handling
       (with-store store
         (build-and-tell store derivation (string->number silent) (string->number seconds) happenings file))))))
