"""The page: tabs, components, and which handler answers which button; and the named endpoints of the API."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ger_datasets.photos.reading import SUFFIXES

from .handlers import TEMPLATES, Handlers, told
from .texts import translations
from .uploads import VIDEO_SUFFIXES
from .video_handlers import DEFAULT_FPS, MAX_FPS, VideoHandlers

I18N = gr.I18n(**translations())
WAITING = f"<p class='ge-waiting'>{I18N('waiting')}</p>"
CSS = TEMPLATES / "app.css"
QUEUED = 64  # requests that wait; further ones are told to come again
PHOTOS_AT_ONCE, FOLDERS_AT_ONCE, VIDEOS_AT_ONCE = 2, 2, 2  # requests at work; the models take turns between them
DARK_BLUE = "*primary_700"  # white letters on it have a contrast of 6.7 : 1

# Fonts of the reader's own system, so that none is fetched
THEME = gr.themes.Default(
    primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
).set(
    button_primary_background_fill=DARK_BLUE,
    button_primary_background_fill_dark=DARK_BLUE,
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_hover_dark="*primary_800",
    button_primary_text_color="white",
    button_primary_text_color_dark="white",
    block_label_text_color="*neutral_700",
    block_label_text_color_dark="*neutral_200",
    block_title_text_color="*neutral_700",
    block_title_text_color_dark="*neutral_200",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_300",
    link_text_color_dark="*primary_400",
    link_text_color_active_dark="*primary_400",
    link_text_color_hover_dark="*primary_300",
    link_text_color_visited_dark="*primary_400",
    checkbox_border_color="*neutral_500",
    checkbox_border_color_dark="*neutral_400",
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
)


def build_app(handlers: Handlers, videos: VideoHandlers) -> gr.Blocks:
    """The app that answers with `handlers` and `videos`; launch it with `THEME`, `CSS` and `I18N`."""
    with gr.Blocks(title="group-emotion", analytics_enabled=False) as app:
        gr.Markdown(f"# {I18N('title')}")
        gr.Markdown(I18N("intro"))
        with gr.Tab(I18N("photo_tab"), id="photo"):
            _photo_tab(handlers)
        with gr.Tab(I18N("video_tab"), id="video"):
            _video_tab(videos)
        with gr.Tab(I18N("folder_tab"), id="folder"):
            _folder_tab(handlers)
        with gr.Tab(I18N("about_tab"), id="about"):
            gr.Markdown(I18N("about"))
            for name in handlers.models.names:
                if card := handlers.models.card(name):
                    with gr.Accordion(_titled("card", name), open=False):
                        gr.Markdown(card)
        _endpoints(handlers, videos)
    app.queue(max_size=QUEUED, api_open=False, default_concurrency_limit=1)
    return app


def _photo_tab(handlers: Handlers) -> None:
    with gr.Row():
        with gr.Column():
            photo = gr.Image(
                label=I18N("photo"),
                type="filepath",
                image_mode=None,
                sources=["upload", "clipboard", "webcam"],
                buttons=["fullscreen"],
                elem_id="photo",
                height=360,
            )
            score, blur = _options(handlers)
            button = gr.Button(I18N("recognise"), variant="primary", elem_id="recognise")
        outputs: list[Any] = []
        for name in handlers.models.names:
            with gr.Column():
                several = len(handlers.models.names) > 1
                label = _titled("answer", name) if several else I18N("answer")
                html = gr.HTML(WAITING, label=label, show_label=True, container=True)
                picture = gr.Image(
                    label=I18N("picture"),
                    type="filepath",
                    interactive=False,
                    visible=False,
                    buttons=["download", "fullscreen"],
                    elem_classes="ge-picture",
                )
                outputs += [html, picture]
    button.click(
        handlers.show_photo,
        [photo, score, blur],
        outputs,
        preprocess=False,
        api_visibility="private",
        concurrency_id="photos",
        concurrency_limit=PHOTOS_AT_ONCE,
    )


def _video_tab(videos: VideoHandlers) -> None:
    names = videos.models.names
    with gr.Row():
        with gr.Column():
            video = gr.File(label=I18N("video_file"), file_types=sorted(VIDEO_SUFFIXES), elem_id="video")
            model = gr.Dropdown(names, value=names[0], label=I18N("model"), visible=len(names) > 1)
            fps = gr.Slider(0.5, MAX_FPS, DEFAULT_FPS, step=0.5, label=I18N("fps"), info=I18N("fps_info"))
            render = gr.Checkbox(True, label=I18N("render"))
            blur = gr.Checkbox(label=I18N("blur_faces"))
            button = gr.Button(I18N("recognise"), variant="primary", elem_id="recognise_video")
        with gr.Column():
            answer = gr.HTML(WAITING, label=I18N("answer"), show_label=True, container=True)
            player = gr.Video(
                label=I18N("rendered"), interactive=False, visible=False, buttons=["download"], elem_id="player"
            )
    timeline = gr.HTML(padding=False)
    made = gr.File(
        label=I18N("timeline_files"), file_count="multiple", interactive=False, visible=False, elem_id="timeline_files"
    )
    button.click(
        videos.show_video,
        [video, model, fps, blur, render],
        [answer, player, timeline, made],
        show_progress_on=answer,
        preprocess=False,
        api_visibility="private",
        concurrency_id="videos",
        concurrency_limit=VIDEOS_AT_ONCE,
    )


def _folder_tab(handlers: Handlers) -> None:
    files = gr.File(
        label=I18N("files"), file_count="multiple", file_types=[*sorted(SUFFIXES), ".zip"], elem_id="files"
    )
    score, blur = _options(handlers)
    button = gr.Button(I18N("recognise"), variant="primary", elem_id="recognise_all")
    html = gr.HTML(WAITING, label=I18N("table"), show_label=True, container=True)
    made = gr.File(label=I18N("downloads"), file_count="multiple", interactive=False, visible=False, elem_id="made")
    button.click(
        handlers.show_files,
        [files, score, blur],
        [html, made],
        show_progress_on=html,
        preprocess=False,
        api_visibility="private",
        concurrency_id="folders",
        concurrency_limit=FOLDERS_AT_ONCE,
    )


def _options(handlers: Handlers) -> tuple[gr.Slider, gr.Checkbox]:
    own = handlers.models.min_face_score(handlers.models.names[0])
    score = gr.Slider(0, 1, own, step=0.01, label=I18N("min_face_score"), info=I18N("min_face_score_info"))
    return score, gr.Checkbox(label=I18N("blur_faces"))


def _titled(key: str, name: str) -> str:
    """A label that names a model: the words alone are translated."""
    return f"{name}: {I18N(key)}"


def _endpoints(handlers: Handlers, videos: VideoHandlers) -> None:
    photos: dict[str, Any] = {"concurrency_id": "photos", "concurrency_limit": PHOTOS_AT_ONCE}
    gr.api(told(handlers.photo), api_name="photo", **photos)
    gr.api(told(handlers.picture), api_name="picture", **photos)
    gr.api(
        told(handlers.folder_of_photos),
        api_name="folder",
        concurrency_id="folders",
        concurrency_limit=FOLDERS_AT_ONCE,
    )
    gr.api(told(videos.video), api_name="video", concurrency_id="videos", concurrency_limit=VIDEOS_AT_ONCE)
    gr.api(told(handlers.model_names), api_name="models")
