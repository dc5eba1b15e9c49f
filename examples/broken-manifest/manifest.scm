;; Two names that Guix does not have, as they are easily mistyped.
(specifications->manifest
 (list "python" "python-panda" "python-matplotlab"))
