;; What this analysis needs.  Guix adds whatever these packages need themselves.
(specifications->manifest
 (list "python" "python-pandas" "python-matplotlib"))
