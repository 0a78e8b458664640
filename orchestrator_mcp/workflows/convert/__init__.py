"""Workflows as artists keep them: UI format to API format, and workflows inside of pictures, films and sounds."""
