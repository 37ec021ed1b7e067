"""Boutique: the sample shop, twelve small services with the interfaces of Online Boutique."""
