;; R and its plotting library; a kernel for notebooks is added by itself.
(specifications->manifest
 (list "r-minimal" "r-ggplot2"))
