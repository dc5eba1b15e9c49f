;; How a derivation is built as `guix build' does it, and what is said of that as it happens: procedures for programs of ours.
;;
;; The log gets what `guix build' prints.  What happens is written a line each, as Guix's own traces (guix/status.scm), by which
;; it draws its bars, with what they are about alone:
;;   to-download ITEM BYTES      before anything begins; to-build DERIVATION too
;;   substituter-started ITEM    substituter-succeeded, substituter-failed
;;   download-progress ITEM BYTES-OR-"-" TRANSFERRED
;;   build-started DERIVATION    build-succeeded, build-failed
;; Only the daemon and Guix's own downloads are heard there.  The daemon hands on what builders print behind a line of its own,
;; `@ build-log PID LENGTH', in one message; whatever else is in such a message is text, however it looks.
(use-modules (guix) (guix derivations) (guix diagnostics) (guix status) (guix store) (guix ui)
             (ice-9 binary-ports) (ice-9 match) (ice-9 rdelim) (rnrs bytevectors) (srfi srfi-1) (srfi srfi-11))

;;; What happens.

(define %seconds-between 0.5)  ; of one download's progress

(define (teller file)
  "Return a procedure that appends a line of words to FILE; progress of a download that was told of a moment ago is left out."
  (define port (open-file file "a0"))
  (define told (make-hash-table))
  (define (just-told? item)
    (let ((now (/ (get-internal-real-time) internal-time-units-per-second 1.)))
      (or (< (- now (hash-ref told item 0)) %seconds-between)
          (begin (hash-set! told item now) #f))))
  (match-lambda*
    (('download-progress item size transferred)
     (unless (and (not (equal? size transferred)) (just-told? item))
       (format port "download-progress ~a ~a ~a~%" item size transferred)))
    (words
     (format port "~{~a~^ ~}~%" words))))

(define (tell-event tell event)
  (match event
    (('download-progress item _ size transferred) (tell 'download-progress item size transferred))
    (((and name (or 'substituter-started 'substituter-succeeded 'substituter-failed
                    'build-started 'build-succeeded 'build-failed))
      item _ ...)
     (tell name item))
    (_ #t)))

(define (tell-plan tell store derivation)
  "Tell of all that is to be downloaded, with its size, and to be built.  Where a server does not say how large the file is that
it sends, what becomes of it counts."
  (let-values (((build download) (derivation-build-plan store (list (derivation-input derivation)))))
    (for-each (lambda (item)
                (tell 'to-download (substitutable-path item)
                      (match (substitutable-download-size item)
                        ((? zero?) (substitutable-nar-size item))
                        (size size))))
              download)
    (for-each (lambda (derivation) (tell 'to-build (derivation-file-name derivation))) build)))

;;; The daemon's messages.

(define %longest-message 65536)  ; bytes; the daemon hands on 4096 of a builder's at once, each of which may become three

(define %builders-own "@ build-log ")

(define (downloads? derivation)
  "Return true where DERIVATION is built by the daemon's own program for downloads."
  (false-if-exception (string=? "builtin:download" (derivation-builder (read-derivation-from-file derivation)))))

(define (line-reader handle)
  "Return a procedure that takes text in pieces, and calls HANDLE with each line."
  (define rest "")
  (lambda (text)
    (let loop ((text (string-append rest text)))
      (match (string-index text (char-set #\newline #\return))
        (#f (set! rest text))
        (end
         (handle (substring text 0 (+ 1 end)))
         (loop (substring text (+ 1 end))))))))

(define (words-of line)
  "Return LINE, a trace, as an event: a symbol and strings."
  (match (string-split (string-trim-right (substring line 2)) #\space)
    ((name arguments ...) (cons (string->symbol name) arguments))))

(define (message-reader handle)
  "Return a procedure that takes one of the daemon's messages, and calls HANDLE with each event in it."
  (define downloads (make-hash-table))  ; by the process number of the daemon's own downloads
  (define of-daemon
    (line-reader
     (lambda (line)
       (if (string-prefix? "@ " line)
           (let ((event (words-of line)))
             (match event
               (('build-started derivation _ _ _ process)
                (if (downloads? derivation)
                    (hash-set! downloads process
                               (line-reader (lambda (line)
                                              (handle (if (string-prefix? "@ download-" line)
                                                          (words-of line)
                                                          `(build-log ,(string->number process) ,line))))))
                    (hash-remove! downloads process)))
               (_ #t))
             (handle event))
           (handle `(build-log #f ,line))))))
  (define (of-builder text)
    (match (string-split text #\space)
      ((_ _ process _ ...)
       (let ((said (match (string-index text #\newline)
                     (#f "")
                     (end (substring text (+ 1 end))))))
         ((hash-ref downloads process (lambda (said) (handle `(build-log ,(string->number process) ,said))))
          said)))
      (_ #t)))
  (lambda (text)
    (match (string-contains text %builders-own)
      (#f (of-daemon text))
      (start
       (unless (zero? start) (of-daemon (substring text 0 start)))
       (of-builder (substring text start))))))

(define (port-of-messages read-message)
  "Return a port that READ-MESSAGE is called for with each of the daemon's messages: it is flushed after each that ends a line."
  (define (write! bytes start count)
    (let ((message (make-bytevector count)))
      (bytevector-copy! bytes start message 0 count)
      (let ((port (open-bytevector-input-port message)))
        (set-port-encoding! port "UTF-8")
        (set-port-conversion-strategy! port 'substitute)
        (match (read-string port)
          ((? string? text) (read-message text))
          (_ #t))))
    count)
  (let ((port (make-custom-binary-output-port "daemon" write! #f #f #f)))
    (set-port-encoding! port "UTF-8")
    (setvbuf port 'line %longest-message)
    port))

(define (printer)
  "Return a procedure that prints an event as `guix build' does; of a download's progress only what it came to, as a log keeps
all of it.  An event that Guix's own code fails on is left out."
  (define status (build-status))
  (define (print event)
    (set! status ((build-status-updater print-build-event) event status)))
  (lambda (event)
    (catch #t
      (lambda ()
        (match event
          (('download-progress _ ...)
           (set! status (compute-status event status)))
          (('download-succeeded item uri size _ ...)
           (print `(download-progress ,item ,uri "-" ,size))
           (print event))
          (_ (print event))))
      (const #f))))

;;; Answers.

(define (closure store item)
  (map (lambda (path) (list path (path-info-nar-size (query-path-info store path))))
       (sort (requisites store (list item)) string<?)))

(define (built store derivation silent seconds tell)
  (define print (printer))
  (define (handle event) (tell-event tell event) (print event))
  (set-build-options store #:use-substitutes? #t #:max-silent-time silent #:timeout seconds
                     #:print-build-trace #t #:print-extended-build-trace? #t #:multiplexed-build-output? #t)
  (parameterize ((current-build-output-port (port-of-messages (message-reader handle))))
    (tell-plan tell store derivation)
    (show-what-to-build store (list derivation) #:verbosity 3)
    (build-derivations store (list derivation)))
  (show-derivation-outputs derivation)
  (closure store (derivation->output-path derivation)))

(define (build-and-tell store file silent seconds happenings answer)
  "Build the derivation in FILE, of which a part may say nothing for SILENT seconds and may take SECONDS.  Append what happens to
the file HAPPENINGS, and write to the file ANSWER a list of (ITEM BYTES): all that the result refers to, itself included."
  (let ((found (built store (read-derivation-from-file file) silent seconds (teller happenings))))
    (call-with-output-file answer
      (lambda (port) (write found port) (newline port)))))
