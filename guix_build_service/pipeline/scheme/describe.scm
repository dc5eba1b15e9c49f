;; Write the channels that this Guix is made of, as the text of a channels file, to a file.  Argument: the file.
;; A Guix that was not made by `guix pull` is the release that it says it is: releases are tags of Guix's own channel.
(use-modules (guix channels) (guix config) (guix describe)
             (ice-9 match) (ice-9 pretty-print) (ice-9 regex))
(define channels
  (match (current-channels)
    (()
     (if (string-match "^[0-9]+(\\.[0-9]+)+$" %guix-version)
         (list (channel (inherit %default-guix-channel)
                        (commit (string-append "v" %guix-version))))
         '()))
    (found found)))
(define text
  (if (null? channels)
      ""
      (call-with-output-string
        (lambda (port)
          (pretty-print `(list ,@(map channel->code channels)) port)))))
(match (command-line)
  ((_ file)
   (call-with-output-file file
     (lambda (port) (write text port) (newline port)))))
