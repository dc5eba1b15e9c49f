;; Obtain the Guix that channels make, as `guix time-machine' does, but fetch nothing that the administrator does not allow.
;;
;; Arguments: a file with one datum that the build service wrote, and the file to write the answer to.  The datum is
;;   ((CHANNEL ...) (ALLOWED ...) ROOT MAX-SILENT-SECONDS SECONDS)
;; where CHANNEL is (NAME URL BRANCH COMMIT INTRODUCTION-COMMIT FINGERPRINT OLDEST), all of them strings, empty ones where
;; there is none, ALLOWED is (NAME (URL ...) INTRODUCTION-COMMIT FINGERPRINT OLDEST), and ROOT is the link by which the Guix
;; is held.  The answer is one of
;;   (ready PROFILE (CHANNEL ...))      with all channels that these depend on, at the commits that were used
;;   (unavailable NAME MESSAGE)
;;   (missing NAME WHAT)                WHAT: the commit, tag or branch that the channel does not have
;;   (old NAME COMMIT OLDEST)
;;   (unauthentic NAME COMMIT MESSAGE)
;;   (refused NAME URL BY)              BY: the channel that depends on it
;; No file of a repository is loaded, and `build-aux/build-self.scm' only of channels that were authenticated here or that the
;; administrator has used without.  Each is fetched, compared and authenticated before anything of the next is looked at.
(use-modules (guix channels) (guix diagnostics) (guix git) (guix inferior) (guix store) (guix ui)
             ((guix status) #:select (with-status-verbosity))
             (git) (ice-9 control) (ice-9 match) (srfi srfi-1) (srfi srfi-34) (srfi srfi-35) (srfi srfi-71))

(define (answer file datum)
  (call-with-output-file file
    (lambda (port) (write datum port) (newline port))))

(define given
  (match-lambda
    ("" #f)
    (text text)))

(define (record name url branch commit introduction fingerprint)
  (channel (name (string->symbol name)) (url url) (branch branch) (commit (given commit))
           (introduction (and (given introduction)
                              (make-channel-introduction introduction (openpgp-fingerprint fingerprint))))))

(define (message key arguments)
  "Return what went wrong, as Guix or Git say it."
  (match arguments
    (((? formatted-message? c)) (apply format #f (formatted-message-string c) (formatted-message-arguments c)))
    (((? message-condition? c)) (condition-message c))
    (((? git-error? c) _ ...) (git-error-message c))
    (_ (object->string (cons key arguments)))))

;;; Dependencies, as a channel's own file names them.

(define (named-dependencies checkout)
  "Return the channels that CHECKOUT depends on, as lists of a name, an address, a branch and a commit."
  (define file (string-append checkout "/.guix-channel"))
  (define (field properties name default)
    (match (assq name properties)
      ((_ value _ ...) value)
      (_ default)))
  (match (and (file-exists? file) (call-with-input-file file read))
    (('channel ('version 0) properties ...)
     (map (match-lambda
            ((_ properties ...)
             (list (symbol->string (field properties 'name '?)) (field properties 'url "") (field properties 'branch "master")
                   (field properties 'commit ""))))
          (or (assq-ref properties 'dependencies) '())))
    (_ '())))

(define (meant dependency allowed)
  "Return DEPENDENCY with what its entry of ALLOWED says, or #f where it has none."
  (match dependency
    ((name url branch commit)
     (any (match-lambda
            ((entry urls introduction fingerprint oldest)
             (and (string=? entry name) (member url urls)
                  (list name url branch commit introduction fingerprint oldest))))
          allowed))))

;;; One channel after the other.

(define (fetched item done)
  "Return two values: where the channel ITEM is checked out, and its full commit.  Call DONE with what keeps it from that."
  (match item
    ((name url branch commit _ _ oldest)
     (format (current-error-port) "Updating channel '~a' from Git repository at '~a'...~%" name url)
     (let* ((channel (record name url branch commit "" ""))
            (checkout found relation
                      (catch 'git-error
                        (lambda ()
                          ;; A first copy is made by the address alone: for a commit of a repository that does not answer,
                          ;; Guix would ask elsewhere.
                          (unless (file-exists? (url-cache-directory url))
                            (update-cached-checkout url #:ref '() #:check-out? #f))
                          (update-cached-checkout url #:ref (channel-reference channel) #:starting-commit (given oldest)))
                        (lambda (key error . _)
                          (done (if (= (git-error-code error) GIT_ENOTFOUND)
                                    (list 'missing name (or (given commit) branch))
                                    (list 'unavailable name (git-error-message error))))))))
       (unless (memq relation '(#f ancestor self))
         (done (list 'old name found oldest)))
       (values checkout found)))))

(define (authenticate item checkout commit done)
  "Return where every commit of the channel ITEM up to COMMIT is signed by who may, or where nobody asks for that."
  (match item
    ((name url branch _ introduction fingerprint _)
     (when (given introduction)
       (catch #t
         (lambda ()
           (authenticate-channel (record name url branch commit introduction fingerprint) checkout commit))
         (lambda (key . arguments)
           (done (list 'unauthentic name commit (message key arguments)))))))))

(define (pin item commit)
  (match item
    ((name url branch _ rest ...) (cons* name url branch commit rest))))

(define (pinned channels allowed done)
  "Return CHANNELS and all that they depend on, each at the full commit that was fetched and authenticated."
  (let loop ((waiting (map (lambda (item) (cons item #f)) channels))
             (found '()))
    (match waiting
      (() (reverse found))
      ((((and item (name url _ ...)) . by) rest ...)
       (if (assoc name found)
           (loop rest found)
           (let ((checkout commit (fetched item done)))
             (authenticate item checkout commit done)
             (loop (append rest
                           (map (lambda (dependency)
                                  (cons (or (assoc (car dependency) channels)
                                            (meant dependency allowed)
                                            (done (list 'refused (first dependency) (second dependency) name)))
                                        name))
                                (named-dependencies checkout)))
                   (cons (pin item commit) found))))))))

(define (profile channels root silent seconds)
  "Return the store item of the Guix that CHANNELS make, which is built where it is not there, and which ROOT holds."
  (define authenticated? (every (match-lambda ((_ _ _ _ introduction _ ...) (given introduction))) channels))
  (with-store store
    (set-build-options store #:use-substitutes? #t #:max-silent-time silent #:timeout seconds
                       #:print-build-trace #t #:print-extended-build-trace? #t #:multiplexed-build-output? #t)
    (with-status-verbosity 2
      (with-build-handler (build-notifier #:use-substitutes? #t #:verbosity 2)
        (let ((made (canonicalize-path
                     (cached-channel-instance
                      store (map (match-lambda ((fields ... oldest) (apply record fields))) channels)
                      ;; Where one is not to be authenticated, Guix authenticates none; the others were, above.
                      #:authenticate? authenticated?))))
          (symlink made root)
          made)))))

(match (command-line)
  ((_ request file)
   (match (call-with-input-file request read)
     ((channels allowed root silent seconds)
      (answer file
              (call/ec
               (lambda (done)
                 (let ((channels (pinned channels allowed done)))
                   (with-error-handling
                     (list 'ready (profile channels root silent seconds) channels))))))))))
