;; Print what a farm must hold so that profiles of given packages can be made.
;; Arguments: specifications as `guix package -i' takes them; variables written
;; MODULE/VARIABLE, such as "(gnu packages gcc)/gcc"; and beginnings of names, such
;; as "-texlive-", of what is left out though other packages propagate it.
;;   package NAME VERSION OUTPUT STORE-PATH UPSTREAM-NAME   each package's outputs
;;   propagates NAME OTHER                    what a profile with the package holds, too
;;   unknown SPECIFICATION
;;   needed OUTPUT STORE-PATH                 what building the profile needs besides
(use-modules (guix) (guix packages) (guix profiles) (guix derivations) (guix monads)
             ((guix ui) #:select (package-specification->name+version+output))
             (gnu packages) (gnu packages base) (gnu packages bash)
             (srfi srfi-1) (srfi srfi-71) (ice-9 match))

(define arguments (cdr (command-line)))

(define (variable? argument)
  (string-prefix? "(" argument))

(define (left-out? argument)
  (string-prefix? "-" argument))

(define left-out
  (map (lambda (argument) (substring argument 1)) (filter left-out? arguments)))

(define (left-out-entry? entry)
  (any (lambda (start) (string-prefix? start (manifest-entry-name entry))) left-out))

(define (without-left-out entry)
  (manifest-entry
    (inherit entry)
    (dependencies (map without-left-out
                       (remove left-out-entry? (manifest-entry-dependencies entry))))))

(define (argument->package argument)
  (let* ((end    (string-rindex argument #\/))
         (module (call-with-input-string (substring argument 0 end) read))
         (symbol (string->symbol (substring argument (+ end 1)))))
    (module-ref (resolve-interface module) symbol)))

;; `specification->package' ends the program on an unknown name.
(define (known? specification)
  (let ((name version _ (package-specification->name+version+output specification)))
    (or (pair? (find-packages-by-name name version))
        (begin (format #t "unknown ~a~%" specification) #f))))

(define (with-replacement package)
  (match (package-replacement package)
    (#f (list package))
    (replacement (list package replacement))))

;; Only R's packages bundle what Guix's do not propagate.
(define (print-propagated entry)
  (when (string-prefix? "r-" (manifest-entry-name entry))
    (for-each (lambda (dependency)
                (format #t "propagates ~a ~a~%" (manifest-entry-name entry)
                        (manifest-entry-name dependency)))
              (manifest-entry-dependencies entry))))

(define (print store package)
  (for-each (match-lambda
              ((name . path)
               (format #t "package ~a ~a ~a ~a ~a~%"
                       (package-name package) (package-version package) name path
                       (or (assoc-ref (package-properties package) 'upstream-name) "-"))))
            (derivation->output-paths
             (package-derivation store package #:graft? #f))))

;; The derivations that a profile's own hooks are made of: the hub builds them.
(define local
  '("profile" "module-import" "module-import-compiled" "fonts-dir" "info-dir"
    "manual-database" "ca-certificate-bundle" "xdg-desktop-database"
    "xdg-mime-database" "gtk-icon-themes" "gtk-im-modules" "glib-schemas" "gio-modules"
    "texlive-font-maps" "emacs-subdirs" "ghc-package-cache" "xml-catalog"))

(define (print-needed store drv)
  (define seen '())
  (let walk ((drv drv))
    (for-each
     (lambda (input)
       (let ((drv (derivation-input-derivation input)))
         (for-each
          (lambda (output)
            (let ((path (derivation->output-path drv output)))
              (unless (member path seen)
                (set! seen (cons path seen))
                (if (member (store-path-package-name path) local)
                    (walk drv)
                    (for-each (match-lambda
                                ((name . path) (format #t "needed ~a ~a~%" name path)))
                              (derivation->output-paths drv))))))
          (derivation-input-sub-derivations input))))
     (derivation-inputs drv))))

(with-store store
  (let* ((variables specifications (partition variable? (remove left-out? arguments)))
         (manifest (map-manifest-entries without-left-out
                                         (specifications->manifest
                                          (filter known? specifications))))
         (packages (append (list (default-guile) (guile-for-grafts)
                                 ;; What `computed-file' and the like are run with.
                                 ((@@ (guix gexp) default-guile))
                                 bash (canonical-package bash))
                           (append-map (lambda (variable)
                                         (let ((package (argument->package variable)))
                                           (list package (canonical-package package))))
                                       variables)
                           (map manifest-entry-item (manifest-transitive-entries manifest)))))
    (for-each (lambda (package) (print store package))
              (delete-duplicates (append-map with-replacement packages)))
    (for-each print-propagated (manifest-transitive-entries manifest))
    (print-needed store
                  (run-with-store store
                    (profile-derivation manifest #:allow-collisions? #t)))))
