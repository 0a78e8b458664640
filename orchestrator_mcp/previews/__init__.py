"""Small pictures for people and models: of outputs, of many outputs on one sheet, of what cannot be shown."""
