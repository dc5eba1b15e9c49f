;; Print the host that Guix itself takes files of the Python Package Index from.
(use-modules ((guix build-system python) #:select (pypi-uri))
             (web uri) (ice-9 match))

(display (uri-host (string->uri (match (pypi-uri "name" "0")
                                  ((first . _) first)
                                  (address address)))))
