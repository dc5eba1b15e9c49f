"""Packages that manifests make themselves."""
