;; Ask Guix which packages those of a manifest are, and what they amount to; and build that, once it is told to.
;;
;; Arguments: a manifest file that the build service wrote, the file to write the answer to, and what is asked: "profile", or
;; "packages", which needs neither store nor daemon.  For a profile, perhaps also the index of what to add to the store before:
;; a list of (PATH text FILE REFERENCE ...), (PATH tree FILE) and (PATH file FILE).  The file of a profile's answer is "-": its
;; standard input is a socket then, which takes the answer too, a line.  The answer is one of
;;   (ready DERIVATION PROFILE)
;;   (packages (NAME VERSION OUTPUT) ...)
;;   (unknown (SPECIFICATION KIND ALTERNATIVE ...) ...)      KIND: name, version, output, variable or module
;;   (conflict (NAME VERSION OUTPUT PROPAGATED-FROM ...) (NAME VERSION OUTPUT PROPAGATED-FROM ...))
;;   (unsupported MESSAGE)
;; After `ready', it waits for a line (build SILENT SECONDS HAPPENINGS ANSWER) on the socket, all of which `build-and-tell' in
;; building.scm takes, and ends where there comes none.  In one process, as Guix has by then all derivations of the profile in
;; its memory, and its connection to the daemon what substitute servers said; it takes seconds to have either again.
;; The manifest is read, not loaded: only its strings, and the names of Guix's own variables, reach Guix.
(use-modules (guix) (guix derivations) (guix diagnostics) (guix packages) (guix profiles) (guix search-paths) (guix store)
             (guix transformations) (guix ui) (guix utils) (gnu packages)
             (ice-9 binary-ports) (ice-9 match) (srfi srfi-1) (srfi srfi-11) (srfi srfi-34))

(define (answer file datum)
  (call-with-output-file file
    (lambda (port) (write datum port) (newline port))))

;; What is wrong, the latest first: lists of a specification, a kind and alternatives.
(define problems '())

(define (problem! specification kind . alternatives)
  (set! problems (cons (cons* specification kind alternatives) problems))
  #f)

;;; Modules, in which variables are looked up.

(define %usual '((guix profiles) (gnu)))

(define imports
  ;; The modules that the forms at the beginning of the manifest use.
  (match-lambda
    ((('define-module _ options ...) _ ...)
     (let loop ((options options))
       (match options
         ((#:use-module specification rest ...) (cons specification (loop rest)))
         (() '()))))
    ((('use-modules specifications ...) _ ...) (append %usual specifications))
    (_ %usual)))

(define (interface specification)
  "Return the interface of the module that SPECIFICATION names, or #f."
  (let-values (((name options) (match specification
                                 (((? pair? name) options ...) (values name options))
                                 (name (values name '())))))
    (or (and (search-path %load-path (string-append (string-join (map symbol->string name) "/") ".scm"))
             (catch #t
               (lambda () (apply resolve-interface name options))
               (const #f)))
        (problem! (object->string name) 'module))))

(define (variable name specifications)
  "Return what the variable NAME holds in the first of SPECIFICATIONS' modules that has it, the last first, or #f where none
has it.  Where one of those modules is missing, return `elsewhere'."
  (let* ((module     (make-module))
         (interfaces (map interface specifications)))
    (cond ((every identity interfaces)
           (beautify-user-module! module)
           (module-use-interfaces! module interfaces)
           ;; Some, such as `pkg-config', are macros that stand for a package.
           (catch #t
             (lambda () (eval name module))
             (const #f)))
          (else 'elsewhere))))

;;; Packages.

(define (named specification)
  "Return two values: the package that SPECIFICATION names, or #f, and its output."
  (let-values (((name version output) (package-specification->name+version+output specification)))
    (match (find-best-packages-by-name name version)
      (()
       (match (find-packages-by-name name)
         (() (values (problem! specification 'name) #f))
         (packages
          (values (apply problem! specification 'version (delete-duplicates (map package-version packages))) #f))))
      (_
       (values (specification->package (if version (string-append name "@" version) name)) output)))))

(define (package-of expression specifications)
  "Return the package that EXPRESSION stands for, or #f; its variables are of SPECIFICATIONS' modules."
  (define (checked name value)
    (cond ((package? value) value)
          ((eq? value 'elsewhere) #f)
          (else (problem! (symbol->string name) 'variable))))
  (match expression
    (('specification->package specification)
     (let-values (((package _) (named specification))) package))
    (('@ module (? symbol? name)) (checked name (variable name (list module))))
    ((? symbol? name) (checked name (variable name specifications)))
    ((('options->transformation ('quote options)) inner)
     (and=> (package-of inner specifications) (options->transformation options)))))

(define (with-output package output shown)
  "Return a list of PACKAGE and OUTPUT, or #f where it has none of that name."
  (and package
       (if (member output (package-outputs package))
           (list package output)
           (apply problem! shown 'output (package-outputs package)))))

(define (specified specification)
  (let-values (((package output) (named specification)))
    (with-output package output specification)))

(define (shown package output)
  (string-append (if package (package-name package) "") ":" output))

(define (item expression specifications)
  (match expression
    (('list inner output)
     (let ((package (package-of inner specifications)))
       (with-output package output (shown package output))))
    (_ (package-of expression specifications))))

(define (held name specifications)
  "Return what NAME, a variable alone or with its module, holds."
  (match name
    (('@ module (? symbol? name)) (variable name (list module)))
    ((? symbol? name) (variable name specifications))))

(define (elements name valid? specifications)
  "Return the list that NAME holds, each of whose elements is VALID?, or #f; it is a problem where it holds anything else."
  (let ((value (held name specifications)))
    (if (and (list? value) (every valid? value))
        value
        (and (not (eq? value 'elsewhere)) (problem! (object->string name) 'variable)))))

(define packages-item?
  (match-lambda
    ((or (? package?) ((? package?) (? string?))) #t)
    (_ #f)))

(define (items expression specifications)
  "Return the packages of EXPRESSION, a list of some or a variable that holds one, of packages or of their names."
  (match expression
    (('list expressions ...) (map (lambda (inner) (item inner specifications)) expressions))
    (('specifications->packages name) (map specified (or (elements name string? specifications) '())))
    (name (or (elements name packages-item? specifications) '()))))

;;; Manifests.

(define (entry expression specifications)
  "Return a procedure that makes the manifest entry of EXPRESSION."
  (match expression
    (('package->manifest-entry inner output)
     (let ((package (item `(list ,inner ,output) specifications)))
       (lambda () (apply package->manifest-entry package))))
    (('manifest-entry ('name name*) ('version version*) ('output output*)
                      ('item ('read-derivation-from-file file))
                      ('search-paths ('list ('sexp->search-path-specification ('quote paths)) ...))
                      ('dependencies ('list inner ...))
                      . _)
     (let ((makers (map (lambda (expression) (entry expression specifications)) inner)))
       (lambda ()
         (manifest-entry
           (name name*)
           (version version*)
           (output output*)
           (item (read-derivation-from-file file))
           (search-paths (map sexp->search-path-specification paths))
           (dependencies (map (lambda (make) (make)) makers))))))))

(define (part expression specifications)
  "Return a procedure that makes the manifest of EXPRESSION; what is wrong with its packages is known before."
  (match expression
    (('specifications->manifest ('list strings ...))
     (let ((packages (map specified strings)))
       (lambda () (packages->manifest packages))))
    (('packages->manifest ('append lists ...))
     (let ((packages (append-map (lambda (expression) (items expression specifications)) lists)))
       (lambda () (packages->manifest packages))))
    (('package->development-manifest inner)
     (let ((package (package-of inner specifications)))
       (lambda () (package->development-manifest package))))
    (('manifest ('list expressions ...))
     (let ((makers (map (lambda (expression) (entry expression specifications)) expressions)))
       (lambda () (manifest (map (lambda (make) (make)) makers)))))))

(define (parts expression)
  (match expression
    (('concatenate-manifests ('list parts ...)) parts)
    (part (list part))))

(define development?
  (match-lambda
    (('package->development-manifest _) #t)
    (('manifest ('list expressions ...))
     (any (match-lambda
            (('manifest-entry fields ...) (and (assq 'properties fields) #t))
            (_ #f))
          expressions))
    (_ #f)))

;;; What the manifest's own packages are built of.

(define (content file)
  (match (call-with-input-file file get-bytevector-all #:binary #t)
    ((? eof-object?) #vu8())
    (content content)))

(define (add store path kind file . references)
  "Add FILE to STORE; that it gets PATH there is known beforehand."
  (let* ((name  (store-path-package-name path))
         (added (match kind
                  ('text (add-data-to-store store name (content file) references))
                  ('tree (add-to-store store name #t "sha256" file))
                  ('file (add-to-store store name #f "sha256" file)))))
    (unless (string=? added path)
      (error "not what it is said to be" path added))))

;;; Answers.

(define (describe entry)
  "Return what people must know of ENTRY, the packages that propagate it from the nearest to the outermost."
  (cons* (manifest-entry-name entry) (manifest-entry-version entry) (manifest-entry-output entry)
         (let loop ((parent (force (manifest-entry-parent entry))))
           (if (manifest-entry? parent)
               (cons (manifest-entry-name parent) (loop (force (manifest-entry-parent parent))))
               '()))))

(define (listed manifest)
  (cons 'packages
        (map (lambda (entry)
               (list (manifest-entry-name entry) (manifest-entry-version entry) (manifest-entry-output entry)))
             (manifest-entries manifest))))

(define (lowered store make additions allow-collisions?)
  (set-build-options store #:use-substitutes? #t)
  ;; What is added stays at least as long as this connection, and then with what needs it.
  (catch 'quit
    (lambda () (for-each (lambda (addition) (apply add store addition)) additions))
    ;; The daemon refused it, and Guix has said why.
    (lambda _ (primitive-exit 1)))
  (let ((derivation (run-with-store store
                      (profile-derivation (make) #:allow-collisions? allow-collisions?))))
    (list 'ready (derivation-file-name derivation) (derivation->output-path derivation))))

(define (guarded thunk)
  "Return what THUNK does, or what is wrong with the packages that it is about."
  (guard (c ((profile-collision-error? c)
             (list 'conflict
                   (describe (profile-collision-error-entry c))
                   (describe (profile-collision-error-conflict c))))
            ((formatted-message? c)
             (list 'unsupported
                   (apply format #f (formatted-message-string c) (formatted-message-arguments c)))))
    ;; What a transformation names and Guix does not have ends a command of Guix's, with a message on its standard error.
    (catch 'quit
      thunk
      (lambda _ '(unsupported "a transformation names what Guix does not have; the log says more")))))

(define (ask forms answer-of)
  "Return what ANSWER-OF does for the manifest of FORMS, a procedure that makes it, and whether its packages may collide."
  (let ((specifications (imports forms)))
    ;; Each must be there, be anything looked up in it or not: the manifest itself would not load without.
    (for-each interface specifications)
    (let ((makers (map (lambda (expression) (part expression specifications)) (parts (last forms)))))
      (if (null? problems)
          ;; What a package is built with are often variants of what is asked for besides; `guix shell' lets them be together.
          (answer-of (lambda () (concatenate-manifests (map (lambda (make) (make)) makers)))
                     (any development? (parts (last forms))))
          (cons 'unknown (delete-duplicates (reverse problems)))))))

(define (read-all file)
  (call-with-input-file file
    (lambda (port)
      (let loop ((form (read port)))
        (if (eof-object? form) '() (cons form (loop (read port))))))))

;;; Building.

(define (go-on store derivation wire)
  "Build DERIVATION once a line on WIRE says so."
  ;; Guix is at it while the service takes note of the answer.
  (primitive-load (string-append (dirname (current-filename)) "/building.scm"))
  (match (read wire)
    (('build arguments ...)
     ;; What failed is told as by `guix build'.
     (parameterize ((program-name "build"))
       (with-error-handling
         (apply (module-ref (current-module) 'build-and-tell) store derivation arguments))))
    ((? eof-object?) #t)))

(define (profile forms additions wire)
  "Say on WIRE what the profile of FORMS amounts to, and build it once a line there says so."
  (with-store store
    (let ((found (guarded (lambda () (ask forms (lambda (make collide?) (lowered store make additions collide?)))))))
      (write found wire)
      (newline wire)
      (force-output wire)
      (match found
        (('ready derivation _) (go-on store derivation wire))
        (_ #t)))))

(match (command-line)
  ((_ manifest file "packages")
   (answer file (guarded (lambda () (ask (read-all manifest) (lambda (make _) (listed (make))))))))
  ((_ manifest "-" "profile" . index)
   (profile (read-all manifest)
            (append-map (lambda (file) (call-with-input-file file read)) index)
            (fdopen 0 "r+"))))
