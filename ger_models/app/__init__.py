"""The web app: photos in a browser or through an HTTP API -> answers. Needs the extra `app`."""
