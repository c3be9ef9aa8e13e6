"""Rendering of results as files and charts; nothing here computes one."""
